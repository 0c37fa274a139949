//! The resources that processes use, from `/proc`; zero where there is no `/proc`.

use std::{collections::HashMap, fs};

/// Linux reports processor time in hundredths of a second.
const TICK: f64 = 0.01;

/// Seconds of processor time since the start of the processes or of the machine.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    /// The app and all its processes.
    pub app: f64,
    /// PostgreSQL.
    pub postgres: f64,
    /// All other processes except this one.
    pub others: f64,
}

impl Spent {
    /// The time until now, of the process `app` and of PostgreSQL's `postmaster`, each with its descendants.
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

    /// The time that was spent since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            app: self.app - earlier.app,
            postgres: self.postgres - earlier.postgres,
            others: self.others - earlier.others,
        }
    }
}

/// The memory of a process and of all processes that it started, in MiB; shared pages are counted once.
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

/// The parent of a process; `None` if the process is gone.
pub fn parent(of: u32) -> Option<u32> {
    Some(processes().get(&of)?.parent)
}

struct Process {
    id: u32,
    parent: u32,
    /// Its own time and that of its children that have ended.
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

/// Fields of `/proc/<id>/stat` after the name: 1 is the parent, 11 and 12 own time, 13 and 14 that of ended children.
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

/// The seconds that all processors were busy: user, nice, system, irq and softirq of `/proc/stat`.
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
