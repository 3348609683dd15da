pub(in crate::store) mod both_stores;
mod damage;
mod destinations;
mod groups;
mod open;
mod query_plans;
mod random_failures;
mod support;
