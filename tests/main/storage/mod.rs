//! A store, which holds a kloset.

mod create;
mod kloset;
mod leaving;
mod objects;
mod put;
mod summary;

use plakar_host::{PATIENCE, Store};

/// Ends a store that has failed, and checks that the cause is printed once.
async fn assert_ends_with_one_cause(store: Store) {
    let mut connector = store.into_connector();
    connector.hang_up();
    connector.wait(PATIENCE).await.unwrap();
    let stderr = connector.stderr();
    let causes = stderr.lines().filter(|line| line.starts_with("plakar-icloud: error: the store failed")).count();
    assert_eq!(causes, 1, "{stderr}");
}
