//! The end of a room whose row may say anything.

use super::{Check, KEY, room_id};
use crate::store::local::{deletion, migrations, rows};
use chat_engine::stored::{BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, Decision, RoomState};
use chat_protocol::ids::{Epoch, Seq, TransactionId};

/// Each step removes something of at most three rows, but for the last.
const MOST_STEPS: usize = 5;

/// The room's state, and the attempt that was given up last.
type Standing = Option<(RoomState, Option<TransactionId>)>;

fn attempt(id: &str) -> TransactionId {
    TransactionId::parse(id).expect("valid")
}

impl Check<'_> {
    /// A deletion goes on from a state that can be read, or not at all, and what is decided stays decided.
    pub(super) fn deletions(&self) {
        let open = &self.databases.open;
        let epoch = open.query_row("SELECT epoch FROM rooms WHERE key = ?1", [KEY], |row| {
            rows::unsigned(row, 0)
        });
        let epoch = Epoch(self.read(epoch).unwrap_or(0));
        let (first, second) = (attempt("t-1"), attempt("t-2"));
        self.begin(epoch, &first);
        if self.decide(epoch, &first, Decision::Abort) == Some(DecideOutcome::Decided) {
            let again = self.begin(epoch, &first);
            assert_ne!(again, Some(BeginOutcome::Begun), "an attempt that was given up");
        }
        // One that is under way since an earlier life goes on.
        let last = match self.standing() {
            Some((RoomState::Deleting(under_way) | RoomState::Deleted(under_way), _)) => under_way,
            _ => second,
        };
        self.begin(epoch, &last);
        let needed = self.needed();
        let is_new = matches!(self.standing(), Some((RoomState::Deleting(_), _)));
        if self.decide(epoch, &last, Decision::Commit) == Some(DecideOutcome::Decided) {
            if is_new && let Some(before) = needed {
                assert_eq!(
                    self.needed(),
                    Some(before.max(5)),
                    "which release may open the database"
                );
            }
            self.stays_decided(epoch, &last);
        }
    }

    fn standing(&self) -> Standing {
        let open = &self.databases.open;
        let row = open.query_row("SELECT state, txid FROM rooms WHERE key = ?1", [KEY], |row| {
            deletion::state(row, 0)
        });
        self.read(row)
    }

    fn begin(&self, epoch: Epoch, transaction: &TransactionId) -> Option<BeginOutcome> {
        let before = self.standing();
        let ask = |epoch| {
            let transaction = transaction.clone();
            let asked = BeginDeletion { epoch, transaction };
            self.read(deletion::begin(&self.databases.open, &room_id(), &asked))
        };
        let fenced = ask(Epoch(epoch.0 + 1));
        assert!(
            !matches!(fenced, Some((BeginOutcome::Begun, _))),
            "by whoever has no right to"
        );
        let (outcome, written) = ask(epoch).unzip();
        let after = self.standing();
        if outcome == Some(BeginOutcome::Begun) {
            assert_eq!(after, Some((RoomState::Deleting(transaction.clone()), None)));
            assert_eq!(written == Some(0), before == after);
        } else {
            assert_eq!((after, written.unwrap_or(0)), (before, 0));
        }
        outcome
    }

    fn decide(&self, epoch: Epoch, transaction: &TransactionId, decision: Decision) -> Option<DecideOutcome> {
        let before = self.standing();
        let ask = |epoch| {
            let transaction = transaction.clone();
            let asked = DecideDeletion {
                epoch,
                transaction,
                decision,
            };
            self.read(deletion::decide(&self.databases.open, &room_id(), &asked))
        };
        let fenced = ask(Epoch(epoch.0 + 1));
        assert!(
            !matches!(fenced, Some((DecideOutcome::Decided, _))),
            "by whoever has no right to"
        );
        let (outcome, written) = ask(epoch).unzip();
        let after = self.standing();
        match (&outcome, decision) {
            (Some(DecideOutcome::Decided), Decision::Commit) => {
                assert_eq!(after, Some((RoomState::Deleted(transaction.clone()), None)));
                assert_eq!(written == Some(0), before == after);
            }
            (Some(DecideOutcome::Decided), Decision::Abort) => {
                assert_eq!(after, Some((RoomState::Active, Some(transaction.clone()))));
            }
            _ => assert_eq!((after, written.unwrap_or(0)), (before, 0)),
        }
        outcome
    }

    /// A room that is gone does not come back, nobody is shown what was said in it, and that can be removed to its end.
    fn stays_decided(&self, epoch: Epoch, transaction: &TransactionId) {
        let open = &self.databases.open;
        let aborted = self.decide(epoch, transaction, Decision::Abort);
        assert!(matches!(aborted, Some(DecideOutcome::BadState(_))), "{aborted:?}");
        let begun = self.begin(epoch, transaction);
        assert!(matches!(begun, Some(BeginOutcome::BadState(_))), "{begun:?}");
        let shown = self.read(rows::messages(open, &room_id(), Seq(0), 10, usize::MAX));
        assert_eq!(shown.unwrap_or_default(), []);
        let mut steps = 0;
        while let Some((removed, true)) = self.read(deletion::purge(open, &room_id())) {
            steps += 1;
            assert!(
                removed > 0 && steps < MOST_STEPS,
                "{steps} steps, {removed} rows with the last"
            );
        }
        assert_eq!(self.standing(), Some((RoomState::Deleted(transaction.clone()), None)));
    }

    fn needed(&self) -> Option<i64> {
        self.read(migrations::readable_by(&self.databases.open)).flatten()
    }
}
