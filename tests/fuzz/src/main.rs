//! fuzz smoke SAMPLES SAVED SEED SECONDS     decodes damaged files in a child process; figures last, key=value
//! fuzz write SAMPLES FOLDER SEED COUNT      writes damaged files, for other programs
//! fuzz agree SAMPLES SAVED SEED COUNT       compares all who read a file, over SAMPLES and damaged ones
//!
//! Input number n of a seed is always the same. What crashed the child, took too long or was not read alike is kept in
//! SAVED.

mod agree;
mod child;
mod mutate;
mod parts;
mod random;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use random::Random;

/// Damage that slows a decoder down this much is a way to keep a server busy.
const PER_INPUT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["child"] => child::run().map(|()| true).map_err(Into::into),
        ["smoke", samples, saved, seed, seconds] => smoke(samples, saved, seed, seconds),
        ["write", samples, folder, seed, count] => write(samples, folder, seed, count).map(|()| true),
        ["agree", samples, saved, seed, count] => agree(samples, saved, seed, count),
        _ => Err("usage: fuzz smoke SAMPLES SAVED SEED SECONDS | write SAMPLES FOLDER SEED COUNT | agree SAMPLES SAVED SEED COUNT"
            .into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn samples(folder: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths.into_iter().map(fs::read).collect::<Result<_, _>>()?)
}

fn input(samples: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    mutate::mutate(samples, &mut Random(Random(seed).next() ^ number))
}

fn write(folder: &str, to: &str, seed: &str, count: &str) -> Result<(), Box<dyn Error>> {
    let (samples, seed, count) = (samples(folder)?, seed.parse()?, count.parse()?);
    for number in 0..count {
        fs::write(Path::new(to).join(format!("{number}.bin")), input(&samples, seed, number))?;
    }
    Ok(())
}

fn agree(folder: &str, saved: &str, seed: &str, count: &str) -> Result<bool, Box<dyn Error>> {
    // Panics of the libraries are caught; their reports would fill the log.
    std::panic::set_hook(Box::new(|_| {}));
    let (samples, seed, count): (_, u64, u64) = (samples(folder)?, seed.parse()?, count.parse()?);
    let mut disagree = 0;
    for number in 0..samples.len() as u64 + count {
        let bytes = match samples.get(number as usize) {
            Some(sample) => sample.clone(),
            None => input(&samples, seed, number),
        };
        if let Some(what) = agree::disagreement(&bytes) {
            disagree += 1;
            let path = Path::new(saved).join(format!("disagree-{seed}-{number}.bin"));
            fs::write(&path, bytes)?;
            println!("{}: {what}", path.display());
        }
    }
    println!("readers_compared={}\nreaders_disagree={disagree}", samples.len() as u64 + count);
    Ok(disagree == 0)
}

fn smoke(folder: &str, saved: &str, seed: &str, seconds: &str) -> Result<bool, Box<dyn Error>> {
    let (samples, seed, seconds) = (samples(folder)?, seed.parse()?, seconds.parse()?);
    let (mut inputs, mut crashes, mut timeouts, mut panics, mut most_kib) = (0, 0, 0, 0, 0);
    let mut slowest = Duration::ZERO;
    let started = Instant::now();
    let mut decoder = Decoder::start()?;
    while started.elapsed() < Duration::from_secs(seconds) {
        let bytes = input(&samples, seed, inputs);
        let began = Instant::now();
        let trouble = match decoder.decode(&bytes) {
            Ok((panicked, kib)) => {
                panics += u64::from(panicked);
                most_kib = most_kib.max(kib);
                None
            }
            Err(RecvTimeoutError::Timeout) => Some(("timeout", &mut timeouts)),
            Err(RecvTimeoutError::Disconnected) => Some(("crash", &mut crashes)),
        };
        slowest = slowest.max(began.elapsed());
        if let Some((what, count)) = trouble {
            *count += 1;
            let path = Path::new(saved).join(format!("{what}-{seed}-{inputs}.bin"));
            fs::write(&path, bytes)?;
            println!("{what}: {} ({})", path.display(), decoder.end()?);
            decoder = Decoder::start()?;
        }
        inputs += 1;
    }
    decoder.end()?;
    println!("inputs={inputs}\ncrashes={crashes}\ntimeouts={timeouts}\ncaught_panics={panics}");
    println!("slowest_s={:.2}\nmax_rss_mb={}", slowest.as_secs_f64(), most_kib / 1024);
    Ok(crashes == 0 && timeouts == 0)
}

/// A child process that decodes, and the thread that hears what it says.
struct Decoder {
    child: Child,
    input: ChildStdin,
    answers: Receiver<(bool, u64)>,
}

impl Decoder {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("child")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Some((panicked, kib)) = line.split_once(' ') else { break };
                let (Ok(panicked), Ok(kib)) = (panicked.parse(), kib.parse()) else { break };
                if sender.send((panicked, kib)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, input, answers })
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<(bool, u64), RecvTimeoutError> {
        // A child that has died tells so by its silence.
        let _ = self.input.write_all(&(bytes.len() as u32).to_le_bytes()).and_then(|()| self.input.write_all(bytes));
        let _ = self.input.flush();
        self.answers.recv_timeout(PER_INPUT)
    }

    fn end(mut self) -> std::io::Result<std::process::ExitStatus> {
        let _ = self.child.kill();
        self.child.wait()
    }
}
