//! Check of the machine's clock against the database's.

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::{Finding, Level};
use crate::{
    app::database_clock::{WRONG, measure},
    clock::Clock,
};

pub(super) async fn check(db: &mut PgConnection) -> sqlx::Result<Finding> {
    Ok(judge(measure(db, &Clock::system()).await?.ahead))
}

/// `ahead`: how far the database's clock is ahead of the machine's.
fn judge(ahead: TimeDelta) -> Finding {
    let seconds = ahead.abs().as_seconds_f64();
    let direction = match ahead < TimeDelta::zero() {
        true => "ahead of",
        false => "behind",
    };
    let what = format!("this machine's clock is {seconds:.1} s {direction} the database's");
    match ahead.abs() > WRONG {
        false => Finding::ok(what),
        true => Finding::new(
            Level::Warning,
            what,
            "the service uses the database's time, but S3 and TLS refuse a wrong clock; set it, and check the database's",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_beyond_half_a_minute_in_either_direction() {
        for (ahead, level, words) in [
            (0, Level::Ok, "0.0 s behind"),
            (29_000, Level::Ok, "29.0 s behind"),
            (-29_000, Level::Ok, "29.0 s ahead of"),
            (600_000, Level::Warning, "600.0 s behind"),
            (-600_000, Level::Warning, "600.0 s ahead of"),
        ] {
            let finding = judge(TimeDelta::milliseconds(ahead));
            assert_eq!(finding.level, level, "{ahead}");
            assert!(finding.what.contains(words), "{ahead}: {}", finding.what);
        }
    }
}
