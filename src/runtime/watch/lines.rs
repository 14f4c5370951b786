//! The lines of a body that comes in pieces. Each byte is looked at once, however small the pieces are, and a line has a
//! greatest length, so that no server can fill the memory with one.

use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube::client::Body;

use super::answer::AnswerError;

/// Lines that have not been read yet.
pub struct Lines {
    body: Body,
    /// What came and was not looked at.
    piece: Bytes,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    most: usize,
}

impl Lines {
    /// Of `body`, at most `most` bytes each.
    pub fn new(body: Body, most: usize) -> Lines {
        Lines { body, piece: Bytes::new(), begun: Vec::new(), most }
    }

    /// The next line, without its end; `None` when the body ends. What stands behind the last end of a line is none.
    ///
    /// Nothing is lost when this is dropped before it is done.
    ///
    /// # Errors
    /// When the body breaks off, and when a line is longer than it may be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, AnswerError> {
        loop {
            match self.piece.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let part = self.piece.split_to(end);
                    // The end itself.
                    drop(self.piece.split_to(1));
                    self.within_bounds(part.len())?;
                    if self.begun.is_empty() {
                        return Ok(Some(part));
                    }
                    self.begun.extend_from_slice(&part);
                    return Ok(Some(std::mem::take(&mut self.begun).into()));
                }
                None => {
                    self.within_bounds(self.piece.len())?;
                    self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
                }
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| AnswerError::transport(&error))?;
            self.piece = frame.into_data().unwrap_or_default();
        }
    }

    fn within_bounds(&self, more: usize) -> Result<(), AnswerError> {
        if self.begun.len() + more > self.most { Err(AnswerError::TooLarge(self.most)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Answer, Then, server};
    use super::*;
    use axum::http::Request;
    use std::time::{Duration, Instant};

    async fn lines(answer: Answer, most: usize) -> (Vec<String>, Option<AnswerError>) {
        let (client, _) = server(vec![answer]);
        let answer = client.send(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        let (mut lines, mut found) = (Lines::new(answer.into_body(), most), Vec::new());
        loop {
            match lines.next().await {
                Ok(Some(line)) => found.push(String::from_utf8(line.to_vec()).unwrap()),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_the_same_in_whatever_pieces_they_come() {
        let text = "one\n\ntwo\nthree\nnot ended";
        let expected = (["one", "", "two", "three"].map(str::to_owned).to_vec(), None);
        let whole = Answer::new(200, text);
        assert_eq!(lines(whole.clone(), 9).await, expected);
        assert_eq!(lines(whole.clone().dripping(), 9).await, expected);
        for size in 2..text.len() {
            let pieces = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(lines(Answer { pieces, ..whole.clone() }, 9).await, expected, "{size}");
        }
    }

    #[tokio::test]
    async fn a_line_has_a_greatest_length_whether_it_ends_or_not() {
        for text in ["ab\n1234567", "ab\n1234567\n"] {
            for answer in [Answer::new(200, text), Answer::new(200, text).dripping()] {
                assert_eq!(lines(answer, 6).await, (vec!["ab".to_owned()], Some(AnswerError::TooLarge(6))));
            }
        }
        assert_eq!(lines(Answer::new(200, "123456\n"), 6).await, (vec!["123456".to_owned()], None));
    }

    #[tokio::test]
    async fn what_breaks_off_is_an_error_behind_its_lines() {
        let (found, error) = lines(Answer::new(200, "one\ntw").then(Then::Break), 9).await;
        assert_eq!(found, ["one"]);
        assert_eq!(error, Some(AnswerError::Transport("ServiceError: connection reset".to_owned())));
    }

    /// A search from its beginning for each piece would take 2 * 10^9 steps, one from the end of the last piece 65,536.
    #[tokio::test]
    async fn a_long_line_in_small_pieces_takes_no_longer() {
        let text = [vec![b'x'; 1 << 16], b"\n".to_vec()].concat();
        let begin = Instant::now();
        let (found, error) = lines(Answer::new(200, text).dripping(), 1 << 20).await;
        assert_eq!((found.iter().map(String::len).collect::<Vec<_>>(), error), (vec![1 << 16], None));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}
