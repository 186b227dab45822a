#include "feat/feature.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <string>

#include "feat/error.h"
#include "feat/fft.h"
#include "feat/framing.h"
#include "feat/kernel.h"
#include "feat/mel.h"
#include "feat/mfcc.h"
#include "feat/parallel.h"
#include "feat/plp.h"
#include "feat/window.h"

namespace kdspeech {
namespace {

constexpr size_t kAlignment = 64;  // of the widest SIMD vector

// A buffer per thread that is kept from call to call.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { Free(); }

  float* AtLeast(size_t size) {
    if (size > size_) {
      Free();
      size_ = 0;
      data_ =
          static_cast<float*>(::operator new(size * sizeof(float), std::align_val_t(kAlignment)));
      size_ = size;
    }
    return data_;
  }

 private:
  void Free() { ::operator delete(data_, std::align_val_t(kAlignment)); }

  float* data_ = nullptr;
  size_t size_ = 0;
};

struct Workspace {
  AlignedBuffer samples;
  AlignedBuffer vectors;
};

Workspace& ThreadWorkspace() {
  thread_local Workspace workspace;
  return workspace;
}

float SampleAt(const Wave& wave, int64_t i) {
  return wave.int16 != nullptr ? static_cast<float>(wave.int16[i]) : wave.float32[i];
}

MelTables TablesOf(const MelBanks& banks) {
  return {static_cast<int>(banks.first.size()), banks.first.data(), banks.count.data(),
          banks.offset.data(), banks.weights.data()};
}

FftTables TablesOf(const FftPlan& plan) {
  FftTables tables;
  tables.num_complex = plan.num_complex;
  tables.log2_size = plan.log2_size;
  tables.position = plan.position.data();
  tables.real_twiddles = plan.real_twiddles.data();
  tables.split_twiddles = plan.split_twiddles.data();
  tables.split_offset = plan.split_offset.data();
  tables.num_stages = static_cast<int>(plan.stages.size());
  tables.stages = plan.stages.data();
  tables.twiddles = plan.twiddles.data();
  tables.roots = plan.roots.data();
  return tables;
}

int FeatureDim(const FeatureOptions& options) {
  if (options.kind != FeatureKind::kFbank) return options.num_ceps;
  return options.mel.num_mel_bins + (options.use_energy ? 1 : 0);
}

}  // namespace

struct FeatureComputer::Impl {
  FeatureOptions options;
  const Kernel& kernel;
  std::vector<float> window;
  FftPlan fft;
  std::vector<float> cosines;
  std::vector<int> place;
  std::vector<float> scale;
  FeatureTables tables = {};
  mutable std::mutex banks_mutex;
  mutable std::map<float, MelBanks> banks;  // by VTLN warp

  explicit Impl(const FeatureOptions& given) : options(given), kernel(ActiveKernel()) {
    CheckOptions(options);
    window = MakeWindow(options.frame);
    fft = MakeFftPlan(PaddedWindowSize(options.frame));
    if (options.kind != FeatureKind::kFbank) MakeCepstrumTables();
    MakeTables();
    Banks(1.0f);
  }

  void MakeCepstrumTables();
  void MakeTables();
  void MakeLayout();
  const MelBanks& Banks(float warp) const;
  MelBanks MakeBanks(float warp) const;
  const float* BlockSamples(const FeatureJob& job, int64_t begin, int64_t count) const;
  void ComputeFrames(const FeatureJob& job, int64_t first, int64_t count) const;
  void SubtractMean(const FeatureJob& job) const;
};

// The matrix from filter outputs to cepstra (MFCC) or to autocorrelations (PLP), and where each
// cepstrum goes, times what: HTK has c0 or the energy last.
void FeatureComputer::Impl::MakeCepstrumTables() {
  const int num_ceps = options.num_ceps, num_bins = options.mel.num_mel_bins;
  scale = MakeLifter(num_ceps, options.cepstral_lifter);
  for (int i = 0; i < num_ceps; i++) {
    place.push_back(options.htk_compat ? (i + num_ceps - 1) % num_ceps : i);
  }
  if (options.kind == FeatureKind::kPlp) {
    cosines = MakeAutocorrelationBasis(options.lpc_order, num_bins);
    for (float& s : scale) s *= options.cepstral_scale;
    return;
  }
  cosines = MakeDct(num_ceps, num_bins);
  if (options.htk_compat && !options.use_energy) scale[0] *= std::sqrt(2.0f);
}

void FeatureComputer::Impl::MakeTables() {
  tables.kind = options.kind;
  tables.window_size = WindowSize(options.frame);
  tables.window_shift = WindowShift(options.frame);
  tables.fft_size = PaddedWindowSize(options.frame);
  tables.remove_dc_offset = options.frame.remove_dc_offset;
  tables.preemphasis = options.frame.preemphasis_coefficient;
  tables.window = window.data();
  tables.fft = TablesOf(fft);
  tables.dim = FeatureDim(options);
  const bool energy_last = options.htk_compat;
  tables.energy_index = !options.use_energy ? -1 : energy_last ? tables.dim - 1 : 0;
  tables.raw_energy = options.raw_energy;
  tables.log_energy_floor = options.energy_floor > 0 ? std::log(options.energy_floor)
                                                     : std::numeric_limits<float>::lowest();
  tables.use_log_fbank = options.use_log_fbank;
  tables.use_power = options.kind != FeatureKind::kFbank || options.use_power;
  tables.first_bin = options.use_energy && !energy_last ? 1 : 0;
  tables.num_ceps = options.num_ceps;
  tables.cosines = cosines.data();
  tables.place = place.data();
  tables.scale = scale.data();
  tables.lpc_order = options.lpc_order;
  tables.compress_factor = options.compress_factor;
  MakeLayout();
}

void FeatureComputer::Impl::MakeLayout() {
  const int64_t lanes = kernel.lanes;
  const auto round_up = [lanes](int64_t size) { return (size + lanes - 1) / lanes * lanes; };
  WorkspaceLayout& layout = tables.layout;
  const auto take = [&layout](int64_t size) {
    const int64_t at = layout.size;
    layout.size += size;
    return at;
  };
  layout.frames = take(round_up(std::max(tables.window_size, tables.fft_size)));
  layout.power = take(fft.num_complex + 1);
  layout.mel = take(options.mel.num_mel_bins);
  layout.features = take(round_up(tables.dim));
  layout.rows = take(round_up(tables.dim));
  layout.butterfly = take(2 * fft.max_odd_radix);
  layout.lpc = take(options.kind == FeatureKind::kPlp ? 4 * (options.lpc_order + 1) : 0);
}

// The filters with all constant factors in the weights: the transform gives 4 times the
// power, and PLP weighs the filters by the equal-loudness curve.
MelBanks FeatureComputer::Impl::MakeBanks(float warp) const {
  MelBanks result =
      MakeMelBanks(options.mel, options.frame.sample_frequency, tables.fft_size, warp);
  const float constant = tables.use_power ? 0.25f : 0.5f;
  const std::vector<float> loudness = MakeEqualLoudness(result.center_freqs);
  for (size_t b = 0; b < result.first.size(); b++) {
    const float factor = options.kind == FeatureKind::kPlp ? constant * loudness[b] : constant;
    for (int i = 0; i < result.count[b]; i++) result.weights[result.offset[b] + i] *= factor;
  }
  return result;
}

const MelBanks& FeatureComputer::Impl::Banks(float warp) const {
  CheckWarpFactor(warp);
  const std::lock_guard<std::mutex> lock(banks_mutex);
  const auto found = banks.find(warp);
  if (found != banks.end()) return found->second;
  return banks.emplace(warp, MakeBanks(warp)).first->second;
}

// Samples begin .. begin + count - 1 as floats, with dither and with the wave reflected at its
// ends; `lanes` more may be read behind them. Valid until this thread's next call.
const float* FeatureComputer::Impl::BlockSamples(const FeatureJob& job, int64_t begin,
                                                 int64_t count) const {
  const Wave& wave = job.wave;
  const float dither = options.frame.dither;
  const int64_t n = wave.num_samples, lanes = kernel.lanes;
  if (wave.float32 != nullptr && dither == 0 && begin >= 0 && begin + count + lanes <= n) {
    return wave.float32 + begin;
  }
  float* buffer = ThreadWorkspace().samples.AtLeast(count + lanes);
  const int64_t inside = std::min(std::max<int64_t>(begin, 0), n);
  const int64_t inside_end = std::max(inside, std::min(begin + count, n));
  const int64_t inside_count = inside_end - inside;
  float* target = buffer + (inside - begin);
  if (wave.int16 != nullptr) {
    kernel.convert(wave.int16 + inside, inside_count, target);
  } else {
    std::copy_n(wave.float32 + inside, inside_count, target);
  }
  if (dither > 0) kernel.dither(job.seed, inside, inside_count, dither, target);
  for (int64_t i = begin; i < begin + count; i++) {
    if (i == inside) i = inside_end;
    if (i >= begin + count) break;
    const int64_t source = ReflectIndex(i, n);
    buffer[i - begin] = SampleAt(wave, source);
    if (dither > 0) kernel.dither(job.seed, source, 1, dither, buffer + (i - begin));
  }
  std::fill_n(buffer + count, lanes, 0.0f);
  return buffer;
}

void FeatureComputer::Impl::ComputeFrames(const FeatureJob& job, int64_t first,
                                          int64_t count) const {
  const MelTables mel = TablesOf(Banks(job.vtln_warp));
  const size_t size = static_cast<size_t>(tables.layout.size * kernel.lanes);
  float* vectors = ThreadWorkspace().vectors.AtLeast(size);
  const int64_t end = first + count;
  for (int64_t frame = first; frame < end; frame += kernel.lanes) {
    const int block = static_cast<int>(std::min<int64_t>(kernel.lanes, end - frame));
    const int64_t begin = FirstSampleOfFrame(options.frame, frame);
    const int64_t span = static_cast<int64_t>(block - 1) * tables.window_shift;
    const float* samples = BlockSamples(job, begin, span + tables.window_size);
    kernel.compute(tables, mel, samples, block, vectors, job.out + frame * tables.dim);
  }
}

void FeatureComputer::Impl::SubtractMean(const FeatureJob& job) const {
  const int64_t frames = kdspeech::NumFrames(options.frame, job.wave.num_samples);
  const int dim = tables.dim;
  std::vector<double> mean(dim, 0.0);
  for (int64_t i = 0; i < frames * dim; i++) mean[i % dim] += job.out[i];
  for (double& m : mean) m /= static_cast<double>(frames);
  for (int64_t i = 0; i < frames * dim; i++) job.out[i] -= static_cast<float>(mean[i % dim]);
}

FeatureComputer::FeatureComputer(const FeatureOptions& options) : impl_(new Impl(options)) {}
FeatureComputer::~FeatureComputer() = default;
FeatureComputer::FeatureComputer(FeatureComputer&&) noexcept = default;
FeatureComputer& FeatureComputer::operator=(FeatureComputer&&) noexcept = default;

const FeatureOptions& FeatureComputer::options() const { return impl_->options; }

const char* FeatureComputer::simd_variant() const { return impl_->kernel.name; }

int FeatureComputer::Dim() const { return impl_->tables.dim; }

int64_t FeatureComputer::NumFrames(int64_t num_samples) const {
  return kdspeech::NumFrames(impl_->options.frame, num_samples);
}

void FeatureComputer::Compute(const Wave& wave, uint64_t seed, float vtln_warp, float* out) const {
  FeatureJob job;
  job.wave = wave;
  job.seed = seed;
  job.vtln_warp = vtln_warp;
  job.out = out;
  ComputeBatch({job}, 1);
}

void FeatureComputer::ComputeBatch(const std::vector<FeatureJob>& jobs, int num_threads) const {
  struct Part {
    const FeatureJob* job;
    int64_t first, count;
  };
  constexpr int64_t kFramesPerPart = 256;
  std::vector<Part> parts;
  for (const FeatureJob& job : jobs) {
    impl_->Banks(job.vtln_warp);  // a senseless warp is refused here, before any thread starts
    const int64_t frames = NumFrames(job.wave.num_samples);
    for (int64_t first = 0; first < frames; first += kFramesPerPart) {
      parts.push_back({&job, first, std::min(kFramesPerPart, frames - first)});
    }
  }
  const int64_t num_parts = static_cast<int64_t>(parts.size());
  ParallelFor(num_parts, num_threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      impl_->ComputeFrames(*parts[i].job, parts[i].first, parts[i].count);
    }
  });
  if (!impl_->options.subtract_mean) return;
  for (const FeatureJob& job : jobs) {
    if (NumFrames(job.wave.num_samples) > 0) impl_->SubtractMean(job);
  }
}

}  // namespace kdspeech
