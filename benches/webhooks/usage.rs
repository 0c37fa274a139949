//! What processes take of the machine, from `/proc`; nothing where there is none.

use std::{collections::HashMap, fs};

/// Linux counts processor time for programs in hundredths of a second.
const TICK: f64 = 0.01;

/// Seconds of processor time up to now.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    /// By the app and all its processes.
    pub app: f64,
    /// By PostgreSQL.
    pub postgres: f64,
    /// By everybody else but us.
    pub others: f64,
}

impl Spent {
    /// Up to now, by the process `app` and by PostgreSQL's `postmaster`, each with what it has started.
    pub fn now(app: u32, postmaster: u32) -> Self {
        let processes = processes();
        let of = |root| {
            family(&processes, root)
                .iter()
                .map(|p| p.seconds)
                .sum::<f64>()
        };
        let (app, postgres) = (of(app), of(postmaster));
        let us = processes
            .get(&std::process::id())
            .map_or(0.0, |p| p.seconds_alone);
        Self {
            app,
            postgres,
            others: busy() - app - postgres - us,
        }
    }

    /// What was spent since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            app: self.app - earlier.app,
            postgres: self.postgres - earlier.postgres,
            others: self.others - earlier.others,
        }
    }
}

/// MiB in memory of a process and all it has started; what they share is counted once.
pub fn memory(root: u32) -> f64 {
    let kib = |process: &Process| -> Option<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id)).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    family(&processes(), root)
        .into_iter()
        .filter_map(kib)
        .sum::<f64>()
        / 1024.0
}

/// The parent of a process.
pub fn parent(of: u32) -> Option<u32> {
    Some(processes().get(&of)?.parent)
}

struct Process {
    id: u32,
    parent: u32,
    /// Of its own and of its children that have ended.
    seconds: f64,
    seconds_alone: f64,
}

fn processes() -> HashMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?))
        .map(|process| (process.id, process))
        .collect()
}

/// Fields of `/proc/<id>/stat` after the name: 1 parent, 11 and 12 own time, 13 and 14 that of ended children.
fn read(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |nth: usize| Some(fields.get(nth)?.parse::<f64>().ok()? * TICK);
    let alone = seconds(11)? + seconds(12)?;
    Some(Process {
        id,
        parent: fields.get(1)?.parse().ok()?,
        seconds: alone + seconds(13)? + seconds(14)?,
        seconds_alone: alone,
    })
}

fn family(processes: &HashMap<u32, Process>, root: u32) -> Vec<&Process> {
    let descends = |process: &&Process| {
        std::iter::successors(Some(*process), |p| processes.get(&p.parent)).any(|p| p.id == root)
    };
    processes.values().filter(descends).collect()
}

/// Seconds that all processors together were busy: user, nice, system, irq, softirq of `/proc/stat`.
fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|nth| ticks.get(*nth))
        .sum::<f64>()
        * TICK
}
