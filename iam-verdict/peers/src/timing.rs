//! Times several functions in turns, by the processor time of the thread: what else runs on the machine counts little.

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ThreadTime;

/// How often each function is timed.
pub const ROUNDS: usize = 201;

/// How long one timing takes at least.
const SLICE: Duration = Duration::from_micros(500);

/// A function to be timed.
pub type Contestant<'a, T> = &'a dyn Fn() -> T;

/// The median nanoseconds of one call of each function.
pub fn medians<T, const N: usize>(functions: [Contestant<'_, T>; N]) -> [f64; N] {
    let calls = functions.map(calls_per_slice);
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for ((function, calls), times) in functions.iter().zip(calls).zip(&mut times) {
            times.push(time(*function, calls).as_nanos() as f64 / f64::from(calls));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

fn calls_per_slice<T>(function: Contestant<'_, T>) -> u32 {
    let mut calls = 1;
    while time(function, calls) < SLICE {
        calls *= 2;
    }
    calls
}

fn time<T>(function: Contestant<'_, T>, calls: u32) -> Duration {
    let start = ThreadTime::now();
    for _ in 0..calls {
        black_box(function());
    }
    start.elapsed()
}
