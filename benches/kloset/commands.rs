//! Commands of plakar on a kloset in iCloud.

use std::{collections::BTreeMap, path::Path, time::Duration};

use icloud_simulator::Content;
use plakar_host::Plakar;

use super::{
    Cost, Failure, Table, process,
    restic::{self, Work},
    service::{self, PROGRAM, Service},
};

/// The rate of the link in bytes a second, for the large file.
const RATE: u64 = 20_000_000;
/// The fraction of the rate that must be reached.
const USED: f64 = 0.8;
/// How often plakar and restic alternately do the same work.
const ROUNDS: usize = 3;
const FILES: usize = 2000;
const FILE: u64 = 4000;
const LARGE: u64 = 100_000_000;

/// plakar's flags for all commands.
type Flags = &'static [&'static str];

const USUAL: Flags = &[];
/// The concurrency. The default is the number of cores less one, which is one on two cores.
const AT_ONCE: Flags = &["-concurrency", "16"];

/// The limits for the cost of a command.
#[derive(Clone, Copy)]
struct Bounds {
    requests: u64,
    bytes: u64,
}

const ANY: Bounds = at_most(u64::MAX);

const fn at_most(requests: u64) -> Bounds {
    Bounds { requests, bytes: u64::MAX }
}

struct Bench<'a> {
    service: Service,
    plakar: Plakar,
    table: &'a mut Table,
}

pub async fn run(executable: &Path, table: &mut Table) -> Result<(), Failure> {
    let folder = service::folder()?;
    let source = folder.path().join("source");
    write_files(&source)?;
    let source = source.to_string_lossy();
    let mut fastest = Fastest::default();
    for round in 0..ROUNDS {
        let mut bench = Bench::new(executable, table).await?;
        let plakar = bench.small_files(&source).await?;
        fastest.add(plakar, restic::run(&bench.service, &source, bench.table).await?);
        if round == 0 {
            bench.cost("first maintenance", at_most(40), USUAL, &["maintenance"]).await?;
            bench.large_file().await?;
        }
    }
    fastest.print(table);
    Ok(())
}

/// The shortest times of plakar and of restic, because they are least affected by other work of the
/// machine.
#[derive(Default)]
struct Fastest {
    plakar: BTreeMap<(Work, Flags), Duration>,
    restic: BTreeMap<Work, Duration>,
}

impl Fastest {
    fn add(&mut self, plakar: Vec<(Work, Flags, Cost)>, restic: Vec<(Work, Cost)>) {
        for (work, flags, cost) in plakar {
            let fastest = self.plakar.entry((work, flags)).or_insert(Duration::MAX);
            *fastest = cost.took.min(*fastest);
        }
        for (work, cost) in restic {
            let fastest = self.restic.entry(work).or_insert(Duration::MAX);
            *fastest = cost.took.min(*fastest);
        }
    }

    fn print(&self, table: &mut Table) {
        for ((work, flags), plakar) in &self.plakar {
            let Some(restic) = self.restic.get(work) else {
                continue;
            };
            let ratio = plakar.as_secs_f64() / restic.as_secs_f64();
            // For `ls`, only the requests are limited.
            let holds = ratio < 1.0 || *work == Work::Ls;
            let flags = flags.join(" ");
            table.row(&format!("{work:?} {flags} beside restic"), &format!("{ratio:.2} of its time"), holds);
        }
    }
}

impl<'a> Bench<'a> {
    async fn new(executable: &Path, table: &'a mut Table) -> Result<Self, Failure> {
        let service = Service::new()?;
        let plakar = Plakar::new(executable.to_owned(), service.surroundings()?).await?;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifest.yaml");
        let package = plakar.pack(&manifest, Path::new(PROGRAM)).await?;
        plakar.install(&package).await?;
        plakar.define("store", "there", &service.settings(process::KLOSET)).await?;
        plakar.must(["at", "@there", "create", "-plaintext"]).await?;
        Ok(Self { service, plakar, table })
    }

    async fn small_files(&mut self, source: &str) -> Result<Vec<(Work, Flags, Cost)>, Failure> {
        let backup = ["backup", "-no-progress", source];
        let mut costs =
            vec![(Work::Backup, USUAL, self.cost("back up 2,000 small files", at_most(35), USUAL, &backup).await?)];
        let bounds = Bounds { requests: 30, bytes: self.packed() * 3 / 2 };
        for (flags, to) in [(USUAL, "restored"), (AT_ONCE, "restored-at-once")] {
            let restore = ["restore", "-to", &self.service.path(to)];
            costs.push((Work::Restore, flags, self.cost("restore them", bounds, flags, &restore).await?));
            costs.push((Work::Check, flags, self.cost("check", at_most(36), flags, &["check"]).await?));
        }
        let top = format!("{}:/", self.latest().await?);
        let ls = self.cost("ls -recursive", at_most(14), USUAL, &["ls", "-recursive", &top]).await?;
        costs.push((Work::Ls, USUAL, ls));
        Ok(costs)
    }

    async fn cost(&mut self, name: &str, bounds: Bounds, flags: Flags, arguments: &[&str]) -> Result<Cost, Failure> {
        // The daemon that plakar leaves running would shorten the start of the next command.
        self.plakar.surroundings().deserted().await?;
        let arguments = flags.iter().chain(&["at", "@there"]).chain(arguments).copied();
        let name = format!("{name} {}", flags.join(" "));
        // No time limit, because the machine may be slow or busy.
        let work = async {
            let output = self.plakar.start(arguments)?.wait_with_output().await?;
            let text = String::from_utf8_lossy(&output.stderr);
            if output.status.success() { Ok(()) } else { Err(format!("{name}: {text}").into()) }
        };
        let cost = self.service.cost(work).await?;
        let holds = cost.requests <= bounds.requests && cost.down <= bounds.bytes;
        self.table.row(&name, &cost.figures(), holds);
        if !holds {
            self.service.print_requests();
        }
        Ok(cost)
    }

    /// Returns the total size of the packfiles.
    fn packed(&self) -> u64 {
        let items = self.service.simulator.snapshot();
        items.iter().filter(|item| item.path.starts_with("kloset/packfiles/")).map(|item| item.size).sum()
    }

    async fn latest(&self) -> Result<String, Failure> {
        let listed = self.plakar.must(["at", "@there", "ls"]).await?;
        let id = listed.lines().next().and_then(|line| line.split_whitespace().nth(1));
        Ok(id.ok_or("ls shows no snapshot")?.to_owned())
    }

    async fn large_file(&mut self) -> Result<(), Failure> {
        let folder = self.service.path("large");
        std::fs::create_dir_all(&folder)?;
        let file = format!("{folder}/file");
        std::fs::write(&file, Content::Generated { seed: 7, size: LARGE }.read(0, LARGE))?;
        self.cost("back up a file of 100 MB", ANY, USUAL, &["backup", "-no-progress", &folder]).await?;
        let file = format!("{}:{file}", self.latest().await?);
        self.service.simulator.rules(|rules| rules.transport.content_rate = RATE);
        let mut fastest = Duration::MAX;
        for _ in 0..ROUNDS {
            let bounds = Bounds { requests: 30, bytes: LARGE * 11 / 10 };
            fastest = fastest.min(self.cost("cat of it at 20 MB/s", bounds, USUAL, &["cat", &file]).await?.took);
        }
        self.service.simulator.rules(|rules| rules.transport.content_rate = 0);
        let used = LARGE as f64 / fastest.as_secs_f64() / RATE as f64;
        let figures = format!("{:.0} % of the link, start of plakar included", used * 100.0);
        self.table.row("", &figures, used >= USED);
        Ok(())
    }
}

fn write_files(top: &Path) -> Result<(), Failure> {
    let content = Content::Generated { seed: 1, size: FILES as u64 * FILE };
    for number in 0..FILES {
        let folder = top.join(format!("{:02}", number % 20));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{number:04}")), content.read(number as u64 * FILE, FILE))?;
    }
    Ok(())
}
