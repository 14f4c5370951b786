//! The scenarios, by subject. Each makes the namespaces that it needs and leaves nothing that another could trip over.

pub mod agreement;
pub mod attacks;
pub mod attacks_load;
pub mod availability;
pub mod certificates;
pub mod configmaps;
pub mod exemptions;
pub mod faults;
pub mod gitops;
pub mod kinds;
pub mod limits;
pub mod load;
pub mod network;
pub mod policies;
pub mod races;
pub mod rbac;
pub mod release;
pub mod runbook;
pub mod scale;
pub mod secrecy;
pub mod status;
pub mod verdicts;
pub mod workloads;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use crate::world::World;

/// A named test.
pub struct Scenario {
    pub name: &'static str,
    pub needs: Needs,
    pub run: for<'a> fn(&'a World) -> LocalBoxFuture<'a, Result<()>>,
}

/// What it can run on.
#[derive(Clone, Copy)]
pub enum Needs {
    AnyCluster,
    /// Looks at the operator's processes, or reaches them without the API server.
    OurOwn,
    /// A cluster of our own from which the operator was uninstalled: runs last.
    Uninstalled,
    /// The same, and minutes: runs only when `--long` asks for it.
    OurOwnAndTime,
}

/// All of them, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    macro_rules! list {
        ($($needs:ident: $module:ident::$name:ident;)*) => {
            vec![$(Scenario {
                name: concat!(stringify!($module), "::", stringify!($name)),
                needs: Needs::$needs,
                run: |world| Box::pin($module::$name(world)),
            }),*]
        };
    }
    list! {
        AnyCluster: verdicts::one_repository_of_the_aws_page;
        AnyCluster: verdicts::all_four_image_places;
        AnyCluster: verdicts::update_of_an_image;
        AnyCluster: verdicts::ephemeral_container_beside_an_image_that_cannot_be_pulled;
        AnyCluster: verdicts::what_is_not_known_is_a_warning;
        AnyCluster: verdicts::actions_on_a_verdict;
        AnyCluster: verdicts::a_workload_owned_pod_is_refused_at_its_replica_set;
        AnyCluster: verdicts::the_operators_own_namespaces_are_out_of_reach;
        OurOwn: workloads::every_kind_is_warned_of_and_admitted;
        OurOwn: workloads::only_the_topmost_owner_and_only_what_changes_pulls_is_called;
        AnyCluster: exemptions::an_exemption_lets_in_until_its_end;
        AnyCluster: exemptions::an_exemption_that_lets_nothing_in_is_told;
        AnyCluster: agreement::webhook_status_and_check_agree;
        AnyCluster: policies::refused_by_the_schema;
        AnyCluster: policies::malformed_documents_are_refused;
        AnyCluster: policies::malformed_documents_are_refused_everywhere;
        AnyCluster: policies::every_field_is_stored_and_explained;
        AnyCluster: policies::two_authors_share_a_policy;
        AnyCluster: policies::an_edit_flips_the_verdict;
        AnyCluster: policies::deleted;
        AnyCluster: policies::status_and_columns;
        AnyCluster: policies::advice_is_in_the_status;
        AnyCluster: policies::a_cluster_policy;
        AnyCluster: status::a_denied_deployment_and_what_happens_to_a_policy;
        AnyCluster: status::audit_beside_the_winner_and_conflicts_only_on_ties;
        AnyCluster: status::a_date_changes_counts_without_an_edit;
        AnyCluster: status::a_busy_namespace_is_written_seldom;
        AnyCluster: status::a_new_leader_repeats_no_event;
        AnyCluster: races::a_fix_and_its_pod_in_one_apply;
        AnyCluster: races::a_namespace_an_account_and_a_pod_in_one_apply;
        AnyCluster: races::two_hundred_pods_at_once;
        AnyCluster: configmaps::an_edit_is_in_force_within_a_second;
        AnyCluster: configmaps::what_is_wrong_is_said_with_the_way_out;
        AnyCluster: configmaps::trouble_stays_where_it_is;
        AnyCluster: configmaps::a_cluster_policy_reads_another_namespace;
        AnyCluster: configmaps::a_fix_and_its_pod_in_one_apply;
        AnyCluster: configmaps::no_refusal_rests_on_what_is_gone;
        AnyCluster: limits::big_pods;
        OurOwn: faults::after_any_fault_the_state_is_that_of_a_fresh_start;
        OurOwn: kinds::an_optional_kind_comes_and_goes_without_a_restart;
        OurOwn: limits::every_ecr_image_reaches_the_webhook_and_no_other;
        OurOwn: limits::every_ecr_image_of_a_template_reaches_the_webhook_and_no_other;
        OurOwn: network::the_api_server_is_known_by_its_address;
        AnyCluster: release::rights;
        AnyCluster: rbac::who_may_read_and_write_policies;
        AnyCluster: release::render_equals_the_live_objects;
        AnyCluster: gitops::every_variant_passes_strict_validation;
        AnyCluster: gitops::health_of_policies;
        OurOwn: availability::a_rolling_restart;
        OurOwn: availability::the_leader_goes;
        OurOwn: availability::the_api_server_restarts;
        OurOwn: availability::a_paused_leader_writes_nothing;
        OurOwn: certificates::three_rotations;
        OurOwn: certificates::an_unusable_pair_stays_out_of_service;
        OurOwn: load::small;
        OurOwn: attacks::a_pod_is_judged_whatever_its_managed_fields;
        OurOwn: attacks::what_cannot_be_read_is_unknown;
        AnyCluster: attacks::a_document_that_is_too_deep_is_refused_by_name;
        OurOwn: attacks::what_a_tenant_stores_blinds_nobody;
        OurOwnAndTime: attacks::a_right_taken_away_is_noticed;
        OurOwnAndTime: attacks_load::a_stranger_floods;
        OurOwnAndTime: attacks_load::idle_connections;
        OurOwnAndTime: load::big;
        OurOwnAndTime: load::cost;
        OurOwnAndTime: scale::five_thousand_pods;
        OurOwn: secrecy::no_level_and_no_error_brings_what_users_wrote_into_a_log;
        OurOwn: limits::nobody_is_locked_out_without_the_operator;
        AnyCluster: release::upgrade_with_changed_values;
        OurOwn: runbook::every_command_does_what_it_says;
        Uninstalled: gitops::the_bundle;
    }
}
