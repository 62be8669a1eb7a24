//! The records of folders that become packages.

use super::{Incoming, Item, Restore, Wanted, refused};
use crate::{
    drive::{self, DrivePath, Packer},
    rclone,
    restore::{
        Packages, Restored, Verify, bundle::Bundle, destination::Found, digest::Digest, incoming::Destination,
        store::Content,
    },
};

impl<R> Restore<R> {
    /// Reports whether a folder becomes a package. A folder that the destination has already stays one.
    pub(super) async fn is_package(&mut self, path: &DrivePath, item: &Item) -> bool {
        let may_be = item.wanted == Wanted::Folder
            && !item.has_content
            && self.shared.policy.packages == Packages::Auto
            && *path != self.top
            && path.name().contains('.');
        if !may_be || !self.shared.drive.is_package_name(path.name()).await {
            return false;
        }
        let contents = self.folders.at(&path.parent()).contents().await;
        !contents.is_ok_and(|contents| {
            matches!(contents.find(path.name()), Found::Same(entry) if matches!(entry.item, rclone::Item::Folder))
        })
    }

    /// Begins a package with the record of its folder.
    pub(super) async fn begin_bundle(&mut self, ticket: R, name: &str, path: DrivePath, item: Item) {
        self.wait_for_refusals(&path).await;
        let tickets = vec![(ticket, name.to_owned())];
        let target = match self.target(path, item.modified) {
            Ok(target) => target,
            Err(failure) => return self.send_outcome(tickets, Err(failure)).await,
        };
        let packer = (!self.shared.is_plan).then(|| Packer::new(self.shared.drive.spool()));
        let mut bundle = Bundle { name: name.to_owned(), target, packer, sizes: 0..=0, tickets, failure: None };
        bundle.add("", item).await;
        self.bundle = Some(bundle);
    }

    /// Adds a record to the package that is being received, if it belongs to it. Ends the package
    /// otherwise and returns the record.
    pub(super) async fn bundled(
        &mut self,
        ticket: R,
        name: &str,
        item: Item,
    ) -> Result<Option<Incoming<R>>, (R, Item)> {
        let Some(mut bundle) = self.bundle.take() else { return Err((ticket, item)) };
        let Some(below) = bundle.below(name) else {
            self.store_bundle(bundle).await;
            return Err((ticket, item));
        };
        let bad = self.top.join(name).err();
        let (name, has_content) = (name.to_owned(), item.has_content);
        match item.wanted {
            _ if bad.is_some() => {}
            Wanted::File if has_content => {
                bundle.add(below, item).await;
                return Ok(Some(Incoming { ticket, name, destination: Destination::Packed(Box::new(bundle)) }));
            }
            Wanted::Folder | Wanted::Symlink(_) if !has_content => {
                bundle.add(below, item).await;
                bundle.tickets.push((ticket, name));
                self.bundle = Some(bundle);
                return Ok(None);
            }
            _ => {}
        }
        self.bundle = Some(bundle);
        let result = match item.wanted {
            _ if bad.is_some() => Err(refused(&name, &"the path leads out of the package")),
            Wanted::Special => {
                self.first_left_out.get_or_insert_with(|| name.clone());
                Ok(Restored { left_out: 1, ..Restored::default() })
            }
            Wanted::Nothing => Ok(Restored::default()),
            _ => Err(refused(&name, &"it cannot be part of a package")),
        };
        if has_content {
            return Ok(Some(Incoming { ticket, name, destination: Destination::Ignored(result) }));
        }
        self.send_outcome(vec![(ticket, name)], result).await;
        Ok(None)
    }

    /// Ends the package that is being received. Nothing is stored if the restore is over.
    pub(super) async fn end_bundle(&mut self) {
        let Some(bundle) = self.bundle.take() else { return };
        match self.over_failure() {
            Some(failure) => self.send_outcome(bundle.tickets, Err(failure)).await,
            None => self.store_bundle(bundle).await,
        }
    }

    async fn store_bundle(&mut self, bundle: Bundle<R>) {
        let Bundle { target, packer, sizes, tickets, failure, .. } = bundle;
        let packed = match (failure, packer) {
            (Some(failure), _) => Err(failure),
            (None, None) => Ok(Content::Planned(sizes)),
            (None, Some(packer)) => match packer.finish().await {
                Ok(content) => Ok(Content::Received(content)),
                Err(error) => Err(drive::Error::spool(&target.path, &error).into()),
            },
        };
        match packed {
            Ok(content) => {
                let digest = match &content {
                    Content::Received(content) if self.shared.policy.verify == Verify::Content => {
                        Digest::of(content.content()).await.ok()
                    }
                    _ => None,
                };
                self.store(tickets, target, content, digest).await;
            }
            Err(failure) => self.send_outcome(tickets, Err(failure)).await,
        }
    }
}
