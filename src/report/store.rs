//! The fit directory: written whole or not at all, and read back.
//!
//! | file | content |
//! | --- | --- |
//! | `fit.json` | format version, bayesc version, hash and text of the model, data fingerprints, settings, timings |
//! | `summary.json` | the summary (`summary.rs`) |
//! | `params.safetensors` | variational parameters or the mode, unconstrained, one tensor per name |
//! | `draws.safetensors` | one tensor `[chain, draw, …]` per reported quantity |
//! | `sample_stats.safetensors` | for Markov chains: one tensor `[chain, draw]` per statistic of the sampler |
//! | `log_likelihood.safetensors` | one tensor `[chain, draw, …]` per observed name: the log likelihood of each observation, where they are few enough |
//! | `loo.safetensors` | of each observed name three tensors: `NAME.elpd_loo`, `NAME.p_loo`, `NAME.pareto_k` |
//! | `data.safetensors` | the values of data of few numbers, which the fit needs when it is used again |
//! | `posterior_predictive.safetensors` | draws of what was predicted last, written by `bayesc predict` |
//! | `checkpoint.safetensors` | of an interrupted fit: what it takes to go on |
//! | `trace.csv` | step, elbo, gradient norm, learning rate, seconds |
//!
//! A fit is written into a directory beside the final one and takes its place when every file is on disk: until then
//! an older fit of that name stays as it was.

use super::fit::{Draws, Fit, Moments, NamedTensor, Precision, Quantity, TraceRow};
use super::loo::{Loo, LooTerm, Point};
use super::summary::Summary;
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The version of the layout; files of a larger one are refused.
pub const FORMAT: u64 = 1;

const FIT: &str = "fit.json";
const SUMMARY: &str = "summary.json";
const PARAMS: &str = "params.safetensors";
const DRAWS: &str = "draws.safetensors";
const MOMENTS: &str = "moments.safetensors";
const SAMPLE_STATS: &str = "sample_stats.safetensors";
const LOG_LIKELIHOOD: &str = "log_likelihood.safetensors";
const LOO: &str = "loo.safetensors";
const TRACE: &str = "trace.csv";
const DATA: &str = "data.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";
/// Where `bayesc predict` writes its draws.
pub const PREDICTIVE: &str = "posterior_predictive.safetensors";

/// Why a fit directory cannot be written or read (exit code 3).
#[derive(Debug)]
pub enum StoreError {
    /// The operating system refused.
    Io {
        /// What was tried, for example `write`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The folder is there and is not a fit, so it is not replaced.
    Occupied {
        /// The folder or file.
        path: PathBuf,
    },
    /// There is no fit to be read.
    NotAFit {
        /// The folder or file.
        path: PathBuf,
    },
    /// A file is not what this version writes.
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io { action, path, source } => write!(f, "cannot {action} `{}`: {source}", path.display()),
            StoreError::Occupied { path } => {
                write!(f, "`{}` exists and is not a fit; it is left alone, choose another `--out`", path.display())
            }
            StoreError::NotAFit { path } => write!(f, "`{}` is not a fit: it has no `{FIT}`", path.display()),
            StoreError::Format { path, message } => write!(f, "cannot use `{}`: {message}", path.display()),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_path_buf(), source }
}

fn format_error(path: &Path, message: impl fmt::Display) -> StoreError {
    StoreError::Format { path: path.to_path_buf(), message: message.to_string() }
}

/// True when `dir` holds a fit, of whatever format version: only such a folder is ever replaced.
pub fn is_fit(dir: &Path) -> bool {
    let document = fs::read(dir.join(FIT)).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    document.is_some_and(|document| document["bayesc"].is_string() && document["format"].is_u64())
}

/// Says before a long run whether a fit may be written to `dir`: a folder that is not there, empty, or a fit.
///
/// # Errors
/// When `dir` is something else.
pub fn check_target(dir: &Path) -> Result<(), StoreError> {
    let occupied = || Err(StoreError::Occupied { path: dir.to_path_buf() });
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("look at", dir)(error)),
        Ok(_) if !dir.is_dir() => occupied(),
        Ok(_) if is_fit(dir) => Ok(()),
        Ok(_) => {
            let mut entries = fs::read_dir(dir).map_err(io_error("read", dir))?;
            if entries.next().is_none() { Ok(()) } else { occupied() }
        }
    }
}

/// Writes `fit` as the directory `dir`, parents included, in the place of an older fit.
///
/// `extra` are further files of the directory by name, a checkpoint for example.
///
/// # Errors
/// When `dir` is not a fit or the disk refuses; an older fit is then still there.
pub fn save(fit: &Fit, summary: &Summary, dir: &Path, extra: &[(&str, &[u8])]) -> Result<(), StoreError> {
    check_target(dir)?;
    // A link or a name such as `.` is followed, so that what is renamed is the folder itself.
    let target = if dir.exists() { dir.canonicalize().map_err(io_error("find", dir))? } else { dir.to_path_buf() };
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(io_error("create", &parent))?;
    let fresh = sibling(&target, "new").ok_or_else(|| StoreError::Occupied { path: dir.to_path_buf() })?;
    remove_all(&fresh)?;
    let written = write_all(fit, summary, &fresh, extra).and_then(|()| swap(&fresh, &target));
    if written.is_err() {
        // The first failure is the one to report.
        let _ = remove_all(&fresh);
    }
    written?;
    sync_dir(&parent)
}

/// `path/.NAME.TAG-PID`; `None` when `path` has no name.
fn sibling(path: &Path, tag: &str) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(format!(".{tag}-{}", std::process::id()));
    Some(path.with_file_name(name))
}

fn remove_all(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", dir)(error)),
        _ => Ok(()),
    }
}

fn write_all(fit: &Fit, summary: &Summary, dir: &Path, extra: &[(&str, &[u8])]) -> Result<(), StoreError> {
    fs::create_dir(dir).map_err(io_error("create", dir))?;
    let pretty = |value: &Value| serde_json::to_vec_pretty(value).expect("JSON values always print");
    write_atomic(&dir.join(SUMMARY), &pretty(&summary.json(fit)))?;
    write_atomic(&dir.join(TRACE), trace_csv(&fit.trace).as_bytes())?;
    let params = fit.params.iter().map(|p| (p.name.as_str(), Tensor::of_param(p, fit.precision)));
    write_tensors(&dir.join(PARAMS), params.collect())?;
    let draws = fit.quantities.iter().filter(|q| q.has_draws()).map(|q| (q.name.as_str(), Tensor::of_draws(q)));
    write_tensors(&dir.join(DRAWS), draws.collect())?;
    let moments: Vec<NamedTensor> = fit.quantities.iter().flat_map(moments_of).collect();
    if !moments.is_empty() {
        let tensors = moments.iter().map(|m| (m.name.as_str(), Tensor::of_param(m, Precision::F64)));
        write_tensors(&dir.join(MOMENTS), tensors.collect())?;
    }
    if let Some(sampler) = &fit.sampler {
        let stats = sampler.draws.iter().map(|s| (s.name.as_str(), Tensor::of_param(s, Precision::F64)));
        write_tensors(&dir.join(SAMPLE_STATS), stats.collect())?;
    }
    if let Some(loo) = &fit.loo {
        let points: Vec<NamedTensor> = loo.terms.iter().flat_map(points_of).collect();
        let tensors = points.iter().map(|p| (p.name.as_str(), Tensor::of_param(p, Precision::F64)));
        write_tensors(&dir.join(LOO), tensors.collect())?;
        let kept = loo.terms.iter().filter_map(|t| {
            let shape = [loo.chains, loo.draws].iter().chain(&t.shape).copied().collect();
            Some((t.name.as_str(), Tensor { shape, values: Values::Same(t.log_likelihood.as_ref()?) }))
        });
        let kept: Vec<(&str, Tensor<'_>)> = kept.collect();
        if !kept.is_empty() {
            write_tensors(&dir.join(LOG_LIKELIHOOD), kept)?;
        }
    }
    if let Some(inputs) = &fit.inputs {
        let data = inputs.values.iter().map(|d| (d.name.as_str(), Tensor::of_param(d, Precision::F64)));
        write_tensors(&dir.join(DATA), data.collect())?;
    }
    if let Some(checkpoint) = &fit.checkpoint {
        let arrays = checkpoint.iter().map(|a| (a.name.as_str(), Tensor::of_param(a, Precision::F64)));
        write_tensors(&dir.join(CHECKPOINT), arrays.collect())?;
    }
    for (name, bytes) in extra {
        write_atomic(&dir.join(name), bytes)?;
    }
    write_atomic(&dir.join(FIT), &pretty(&fit_json(fit)))?;
    sync_dir(dir)
}

/// The moments of an array without draws, as `NAME.mean` and `NAME.sd`.
fn moments_of(q: &Quantity) -> Vec<NamedTensor> {
    let Some(m) = &q.moments else { return Vec::new() };
    let of = |what: &str, data: &[f64]| NamedTensor {
        name: format!("{}.{what}", q.name),
        shape: q.shape.clone(),
        data: data.to_vec(),
    };
    vec![of("mean", &m.mean), of("sd", &m.sd)]
}

/// What leave-one-out says about each observation: the names of the tensors and the numbers in them.
const POINTS: [(&str, fn(&mut Point) -> &mut f64); 3] =
    [("elpd_loo", |p| &mut p.elpd), ("p_loo", |p| &mut p.p), ("pareto_k", |p| &mut p.pareto_k)];

fn points_of(term: &LooTerm) -> Vec<NamedTensor> {
    let of = |(what, pick): (&str, fn(&mut Point) -> &mut f64)| NamedTensor {
        name: format!("{}.{what}", term.name),
        shape: term.shape.clone(),
        data: term.points.iter().map(|&p| *pick(&mut p.clone())).collect(),
    };
    POINTS.map(of).into()
}

/// Reads what [`points_of`] wrote, and the log likelihoods that are kept.
fn read_loo(dir: &Path, loo: &mut Loo) -> Result<(), StoreError> {
    let path = dir.join(LOO);
    let tensors = read_params(&path)?;
    for term in &mut loo.terms {
        term.points = vec![Point::default(); term.count()];
        for (what, pick) in POINTS {
            let wanted = format!("{}.{what}", term.name);
            let found = tensors.iter().find(|t| t.name == wanted && t.shape == term.shape);
            let found = found.ok_or_else(|| format_error(&path, format!("`{wanted}` is not there")))?;
            term.points.iter_mut().zip(&found.data).for_each(|(point, &x)| *pick(point) = x);
        }
    }
    let path = dir.join(LOG_LIKELIHOOD);
    if path.is_file() {
        let bytes = read(&path)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| format_error(&path, error))?;
        for term in &mut loo.terms {
            if let Ok(tensor) = tensors.tensor(&term.name) {
                let data = decode(tensor.dtype(), tensor.data()).ok_or_else(|| not_real(&path, &term.name))?;
                term.log_likelihood = Some(data);
            }
        }
    }
    Ok(())
}

/// Puts `fresh` in the place of `target`; when that fails `target` is what it was.
fn swap(fresh: &Path, target: &Path) -> Result<(), StoreError> {
    if !target.exists() {
        return fs::rename(fresh, target).map_err(io_error("create", target));
    }
    let old = sibling(target, "old").expect("`save` has found a name");
    remove_all(&old)?;
    fs::rename(target, &old).map_err(io_error("replace", target))?;
    if let Err(error) = fs::rename(fresh, target) {
        fs::rename(&old, target).map_err(io_error("restore", target))?;
        return Err(io_error("create", target)(error));
    }
    remove_all(&old)
}

/// Writes a file under a temporary name, makes sure that it is on disk, and gives it its name.
///
/// # Errors
/// When the disk refuses; a file of that name is then what it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = sibling(path, "tmp").ok_or_else(|| StoreError::Occupied { path: path.to_path_buf() })?;
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        io_error("write", path)(error)
    })
}

/// A file that is written piece by piece under a temporary name; it gets its own name when it is finished, and is gone
/// when it is not.
#[derive(Debug)]
pub struct Growing {
    file: Option<File>,
    temporary: PathBuf,
    path: PathBuf,
}

impl Growing {
    /// # Errors
    /// When the disk refuses.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let temporary = sibling(path, "tmp").ok_or_else(|| StoreError::Occupied { path: path.to_path_buf() })?;
        let file = File::create(&temporary).map_err(io_error("write", path))?;
        Ok(Self { file: Some(file), temporary, path: path.to_path_buf() })
    }
    fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("it is open until it is finished")
    }
    /// Adds to its end.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let done = self.file().write_all(bytes);
        done.map_err(io_error("write", &self.path))
    }
    /// Writes at a place; what lies between is zero.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_at(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let file = self.file();
        let done = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes));
        done.map_err(io_error("write", &self.path))
    }
    /// Makes sure that it is on disk, and gives it its name.
    ///
    /// # Errors
    /// When the disk refuses; a file of that name is then what it was.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let file = self.file.take().expect("it is open until it is finished");
        let done = file.sync_all().and_then(|()| fs::rename(&self.temporary, &self.path));
        done.map_err(|error| {
            let _ = fs::remove_file(&self.temporary);
            io_error("write", &self.path)(error)
        })
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Draws on their way into a safetensors file, block of elements by block of elements: `[1, draw, …]` for each name.
#[derive(Debug)]
pub struct GrowingDraws {
    file: Growing,
    precision: Precision,
    /// Where the numbers of each name begin, and the number of its elements.
    places: Vec<(u64, usize)>,
}

impl GrowingDraws {
    /// A file for `draws` draws of these names with these extents.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn create(
        path: &Path,
        names: &[(String, Vec<usize>)],
        draws: usize,
        precision: Precision,
    ) -> Result<Self, StoreError> {
        let (word, bytes) = match precision {
            Precision::F32 => ("F32", 4u64),
            Precision::F64 => ("F64", 8),
        };
        let mut header = Map::new();
        let mut places = Vec::new();
        let mut at = 0u64;
        for (name, shape) in names {
            let count: usize = shape.iter().product();
            let end = at + (draws * count) as u64 * bytes;
            let shape: Vec<usize> = [1, draws].iter().chain(shape).copied().collect();
            header.insert(name.clone(), json!({"dtype": word, "shape": shape, "data_offsets": [at, end]}));
            places.push((at, count));
            at = end;
        }
        let mut text = Value::Object(header).to_string();
        while !text.len().is_multiple_of(8) {
            text.push(' ');
        }
        let begin = 8 + text.len() as u64;
        places.iter_mut().for_each(|(place, _)| *place += begin);
        let mut file = Growing::create(path)?;
        file.write(&(text.len() as u64).to_le_bytes())?;
        file.write(text.as_bytes())?;
        Ok(Self { file, precision, places })
    }
    /// Writes the draws `[draw, element]` of some elements, the first of which is `first`, of the `which`-th name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn part(&mut self, which: usize, first: usize, elements: usize, draws: &[f64]) -> Result<(), StoreError> {
        let (begin, count) = self.places[which];
        for (i, row) in draws.chunks_exact(elements.max(1)).enumerate() {
            let at = (i * count + first) as u64;
            match self.precision {
                Precision::F32 => {
                    let bytes: Vec<u8> = row.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect();
                    self.file.write_at(begin + 4 * at, &bytes)?;
                }
                Precision::F64 => {
                    let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
                    self.file.write_at(begin + 8 * at, &bytes)?;
                }
            }
        }
        Ok(())
    }
    /// As [`Growing::finish`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> Result<(), StoreError> {
        self.file.finish()
    }
}

/// Makes renames in `dir` last through a power cut, where the system can.
fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    if cfg!(unix) { File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("write", dir)) } else { Ok(()) }
}

fn fit_json(fit: &Fit) -> Value {
    let mut document = Map::new();
    document.insert("format".into(), json!(FORMAT));
    document.insert("bayesc".into(), json!(env!("CARGO_PKG_VERSION")));
    document.insert("model_hash".into(), json!(fit.model.hash()));
    let Value::Object(fields) = serde_json::to_value(fit).expect("a fit is plain data") else {
        unreachable!("a struct becomes an object")
    };
    document.extend(fields);
    Value::Object(document)
}

fn trace_csv(trace: &[TraceRow]) -> String {
    let mut text = String::from("step,elbo,gradient_norm,learning_rate,seconds\n");
    for row in trace {
        let TraceRow { step, elbo, gradient_norm, learning_rate, secs } = row;
        text += &format!("{step},{elbo},{gradient_norm},{learning_rate},{secs}\n");
    }
    text
}

/// An array on its way into a safetensors file.
struct Tensor<'a> {
    shape: Vec<usize>,
    values: Values<'a>,
}

enum Values<'a> {
    Same(&'a Draws),
    Narrowed(&'a [f64]),
    Wide(&'a [f64]),
}

impl<'a> Tensor<'a> {
    fn of_draws(quantity: &'a Quantity) -> Self {
        let shape = [quantity.chains, quantity.draws].iter().chain(&quantity.shape).copied().collect();
        Self { shape, values: Values::Same(&quantity.data) }
    }
    fn of_param(param: &'a NamedTensor, precision: Precision) -> Self {
        let values = match precision {
            Precision::F32 => Values::Narrowed(&param.data),
            Precision::F64 => Values::Wide(&param.data),
        };
        Self { shape: param.shape.clone(), values }
    }
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        match self.values {
            Values::Same(Draws::F32(_)) | Values::Narrowed(_) => Dtype::F32,
            Values::Same(Draws::F64(_)) | Values::Wide(_) => Dtype::F64,
        }
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let bytes: Vec<u8> = match self.values {
            Values::Same(Draws::F32(v)) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::Narrowed(v) => v.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            Values::Same(Draws::F64(v)) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::Wide(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        Cow::Owned(bytes)
    }
    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype().bitsize() / 8
    }
}

fn write_tensors(path: &Path, tensors: Vec<(&str, Tensor<'_>)>) -> Result<(), StoreError> {
    let bytes = safetensors::serialize(tensors, None).map_err(|error| format_error(path, error))?;
    write_atomic(path, &bytes)
}

/// Reads a fit with all its draws.
///
/// # Errors
/// When `dir` is not a fit, cannot be read, or was written in a later format.
pub fn load(dir: &Path) -> Result<Fit, StoreError> {
    let path = dir.join(FIT);
    if !path.is_file() {
        return Err(StoreError::NotAFit { path: dir.to_path_buf() });
    }
    let document: Value = serde_json::from_slice(&read(&path)?).map_err(|error| format_error(&path, error))?;
    match document["format"].as_u64() {
        Some(1..=FORMAT) => {}
        Some(later) => {
            let message = format!("it has format {later}, this version of bayesc reads up to {FORMAT}");
            return Err(format_error(&path, message));
        }
        None => return Err(format_error(&path, "it does not say its format")),
    }
    let mut fit: Fit = serde_json::from_value(document).map_err(|error| format_error(&path, error))?;
    let moments = dir.join(MOMENTS);
    if moments.is_file() {
        let tensors = read_params(&moments)?;
        for q in &mut fit.quantities {
            let of = |what: &str| {
                let wanted = format!("{}.{what}", q.name);
                tensors.iter().find(|t| t.name == wanted && t.shape == q.shape).map(|t| t.data.clone())
            };
            if let (Some(mean), Some(sd)) = (of("mean"), of("sd")) {
                q.moments = Some(Moments { n: q.chains * q.draws, mean, sd });
            }
        }
    }
    read_draws(&dir.join(DRAWS), &mut fit.quantities)?;
    fit.params = read_params(&dir.join(PARAMS))?;
    if let Some(sampler) = &mut fit.sampler {
        sampler.draws = read_params(&dir.join(SAMPLE_STATS))?;
    }
    if let Some(loo) = &mut fit.loo {
        read_loo(dir, loo)?;
    }
    if let Some(inputs) = &mut fit.inputs {
        inputs.values = read_params(&dir.join(DATA))?;
    }
    if dir.join(CHECKPOINT).is_file() {
        fit.checkpoint = Some(read_params(&dir.join(CHECKPOINT))?);
    }
    fit.trace = read_trace(&dir.join(TRACE))?;
    Ok(fit)
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(io_error("read", path))
}

fn read_draws(path: &Path, quantities: &mut [Quantity]) -> Result<(), StoreError> {
    let bytes = read(path)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| format_error(path, error))?;
    for quantity in quantities.iter_mut().filter(|q| q.has_draws()) {
        let tensor = tensors.tensor(&quantity.name).map_err(|error| format_error(path, error))?;
        let expected = Tensor::of_draws(quantity).shape;
        if tensor.shape() != expected {
            let message = format!("`{}` has shape {:?} instead of {expected:?}", quantity.name, tensor.shape());
            return Err(format_error(path, message));
        }
        quantity.data = decode(tensor.dtype(), tensor.data()).ok_or_else(|| not_real(path, &quantity.name))?;
    }
    Ok(())
}

fn read_params(path: &Path) -> Result<Vec<NamedTensor>, StoreError> {
    let bytes = read(path)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| format_error(path, error))?;
    let read_one = |(name, tensor): (&str, safetensors::tensor::TensorView<'_>)| {
        let data = match decode(tensor.dtype(), tensor.data()).ok_or_else(|| not_real(path, name))? {
            Draws::F32(v) => v.into_iter().map(f64::from).collect(),
            Draws::F64(v) => v,
        };
        Ok(NamedTensor { name: name.to_string(), shape: tensor.shape().to_vec(), data })
    };
    let mut params: Vec<NamedTensor> = tensors.iter().map(read_one).collect::<Result<_, _>>()?;
    params.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(params)
}

fn not_real(path: &Path, name: &str) -> StoreError {
    format_error(path, format!("`{name}` holds neither f32 nor f64 numbers"))
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Draws> {
    match dtype {
        Dtype::F32 => Some(Draws::F32(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())),
        Dtype::F64 => Some(Draws::F64(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect())),
        _ => None,
    }
}

fn read_trace(path: &Path) -> Result<Vec<TraceRow>, StoreError> {
    let bytes = read(path)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let rows = reader.deserialize::<(u64, f64, f64, f64, f64)>().map(|row| {
        row.map(|(step, elbo, gradient_norm, learning_rate, secs)| TraceRow {
            step,
            elbo,
            gradient_norm,
            learning_rate,
            secs,
        })
    });
    rows.collect::<Result<_, _>>().map_err(|error| format_error(path, error))
}

#[cfg(test)]
mod tests {
    use super::super::fit::{Elbo, Elem, Metrics, ModelSource, Role};
    use super::*;

    fn example(seed: u64) -> Fit {
        let text = "model { x ~ Normal(0, 1) }\n".to_string();
        let model = ModelSource { path: "a.bayes".into(), name: None, text };
        let mut fit = Fit::new("svi", model, Precision::F32, seed);
        fit.guide = "mean_field".into();
        fit.elbo = Some(Elbo { final_: -12.25, standard_error: 0.1, steps: 40 });
        let mut x = Quantity::new("x", Role::Latent, Elem::Real, &[2], 2, 3, vec![0.1f32; 12]);
        x.labels = vec![Some(vec!["ä".into(), "b".into()])];
        let wide = Quantity::new("s.t", Role::Generated, Elem::Int, &[], 2, 3, vec![0.1f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
        fit.quantities = vec![x, wide];
        fit.evaluation = vec![("y".into(), Metrics { values: vec![("rmse".into(), 1.0 / 3.0)] })];
        fit.settings = vec![("steps".into(), json!(40)), ("optimizer".into(), json!("adam(0.01)"))];
        let row = TraceRow { step: 1, elbo: f64::NEG_INFINITY, gradient_norm: 0.1, learning_rate: 1e-3, secs: 0.5 };
        fit.trace = vec![row, TraceRow { step: 2, elbo: -1.0 / 3.0, ..row }];
        fit.params = vec![NamedTensor { name: "x.loc".into(), shape: vec![2], data: vec![0.5, -0.25] }];
        fit.notes = vec!["a note".into()];
        let points = [-1.5, -0.25].map(|elpd| Point { elpd, p: 0.1, pareto_k: 0.3 }).into();
        let term = LooTerm {
            name: "y".into(),
            shape: vec![2],
            dims: vec![Some("N".into())],
            labels: vec![None],
            hash: "ab".into(),
            points,
            log_likelihood: Some(Draws::F32(vec![-0.5; 12])),
        };
        fit.loo = Some(Loo { chains: 2, draws: 3, terms: vec![term] });
        fit
    }

    fn save_example(fit: &Fit, dir: &Path) -> Result<(), StoreError> {
        save(fit, &Summary::of(fit, false), dir, &[])
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_saved_is_read_back() {
        let temp = tempfile::tempdir().expect("a folder");
        let dir = temp.path().join("new/parents/a.fit");
        let fit = example(3);
        save_example(&fit, &dir).expect("a new folder");
        assert_eq!(load(&dir).expect("what was saved"), fit);
        assert_eq!(names(&dir), [DRAWS, FIT, LOG_LIKELIHOOD, LOO, PARAMS, SUMMARY, TRACE]);
        assert_eq!(names(dir.parent().expect("a parent")), ["a.fit"]);
        let fit_json: Value = serde_json::from_slice(&read(&dir.join(FIT)).expect("a file")).expect("JSON");
        assert_eq!(fit_json["format"], json!(1));
        assert_eq!(fit_json["settings"], json!({"steps": 40, "optimizer": "adam(0.01)"}));
        assert_eq!(fit_json["model_hash"].as_str().map(str::len), Some(64));
    }

    #[test]
    fn an_older_fit_is_replaced_with_all_its_files() {
        let temp = tempfile::tempdir().expect("a folder");
        let dir = temp.path().join("a.fit");
        let fit = example(1);
        save(&fit, &Summary::of(&fit, false), &dir, &[("checkpoint.safetensors", b"state")]).expect("a new folder");
        assert_eq!(fs::read(dir.join("checkpoint.safetensors")).expect("a file"), b"state");
        save_example(&example(2), &dir).expect("a fit may be replaced");
        assert_eq!(load(&dir).expect("the second fit").seed, 2);
        assert!(!dir.join("checkpoint.safetensors").exists());
        assert_eq!(names(temp.path()), ["a.fit"]);
    }

    #[test]
    fn a_folder_that_is_not_a_fit_is_left_alone() {
        let temp = tempfile::tempdir().expect("a folder");
        let dir = temp.path().join("photos");
        fs::create_dir(&dir).expect("a folder");
        save_example(&example(1), &dir).expect("an empty folder may be used");
        fs::remove_file(dir.join(FIT)).expect("a file");
        assert!(matches!(save_example(&example(1), &dir), Err(StoreError::Occupied { .. })));
        assert!(dir.join(DRAWS).exists());
        fs::write(dir.join(FIT), r#"{"steps": 10000, "weight": 80}"#).expect("a file");
        assert!(matches!(check_target(&dir), Err(StoreError::Occupied { .. })));
        fs::remove_file(dir.join(FIT)).expect("a file");
        let file = temp.path().join("file");
        fs::write(&file, "text").expect("a file");
        assert!(matches!(check_target(&file), Err(StoreError::Occupied { .. })));
        assert!(matches!(load(&dir), Err(StoreError::NotAFit { .. })));
    }

    #[test]
    fn a_failure_leaves_the_older_fit_and_nothing_else() {
        let temp = tempfile::tempdir().expect("a folder");
        let dir = temp.path().join("a.fit");
        save_example(&example(1), &dir).expect("a new folder");
        let fit = example(2);
        // A file in a folder that is not there cannot be written.
        let broken = save(&fit, &Summary::of(&fit, false), &dir, &[("no/such/file", b"")]);
        assert!(matches!(broken, Err(StoreError::Io { action: "write", .. })));
        assert_eq!(load(&dir).expect("the first fit").seed, 1);
        assert_eq!(names(temp.path()), ["a.fit"]);
    }

    #[test]
    fn damaged_and_later_fits_are_refused() {
        let temp = tempfile::tempdir().expect("a folder");
        let dir = temp.path().join("a.fit");
        save_example(&example(1), &dir).expect("a new folder");
        fs::write(dir.join(DRAWS), b"short").expect("a file");
        assert!(matches!(load(&dir), Err(StoreError::Format { .. })));
        fs::write(dir.join(FIT), r#"{"format": 99}"#).expect("a file");
        let message = load(&dir).expect_err("a later format").to_string();
        assert!(message.contains("format 99"), "{message}");
    }
}
