#include "feat/pitch.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "feat/error.h"
#include "feat/pitch_search.h"

namespace kdspeech {

namespace {

constexpr size_t kMaxStates = 40000;  // the search keeps states in 16 bits, squares in 31

void Require(bool condition, const char* message) {
  if (!condition) throw InputError(message);
}

const PitchOptions& Checked(const PitchOptions& options) {
  options.Check();
  return options;
}

double HalfUpsampleWidth(const PitchOptions& options) {
  return options.upsample_filter_width / (2.0 * options.resample_frequency);
}

int FirstLag(const PitchOptions& options) {
  return static_cast<int>(
      std::ceil(options.resample_frequency * (1.0 / options.max_f0 - HalfUpsampleWidth(options))));
}

int LastLag(const PitchOptions& options) {
  return static_cast<int>(
      std::floor(options.resample_frequency * (1.0 / options.min_f0 + HalfUpsampleWidth(options))));
}

std::vector<float> SearchLags(const PitchOptions& options) {
  const float shortest = static_cast<float>(1.0 / options.max_f0);
  const float longest = static_cast<float>(1.0 / options.min_f0);
  const double ratio = 1.0 + options.delta_pitch;
  std::vector<float> lags;
  for (float lag = shortest; lag <= longest; lag = static_cast<float>(lag * ratio)) {
    Require(lags.size() < kMaxStates, "delta_pitch is too small: more than 40000 lags to search");
    lags.push_back(lag);
  }
  return lags;
}

PointResampler NccfResampler(const PitchOptions& options, std::vector<float> lags) {
  const int first_lag = FirstLag(options);
  // The measured NCCF is a signal that starts at the first lag.
  const float start = static_cast<float>(first_lag) / options.resample_frequency;
  for (float& lag : lags) lag -= start;
  return PointResampler(LastLag(options) + 1 - first_lag, options.resample_frequency,
                        options.resample_frequency * 0.5f, lags, options.upsample_filter_width);
}

}  // namespace

int PitchOptions::WindowSize() const {
  return static_cast<int>(resample_frequency * frame_length / 1000.0);
}

int PitchOptions::WindowShift() const {
  return static_cast<int>(resample_frequency * frame_shift / 1000.0);
}

int64_t PitchOptions::ChunkSamples() const {
  const float frames = static_cast<float>(frames_per_chunk);
  return static_cast<int64_t>(frames * sample_frequency * frame_shift / 1000.0f);
}

void PitchOptions::Check() const {
  const auto within = [](float value, float low, float high) {
    return value >= low && value <= high;
  };
  Require(within(sample_frequency, 100, 1e6f), "sample_frequency must be 100 to 1000000 Hz");
  Require(within(resample_frequency, 100, 1e5f), "resample_frequency must be 100 to 100000 Hz");
  Require(within(frame_length, 0, 1e4f) && WindowSize() > 0,
          "frame_length must hold at least one sample at resample_frequency, at most 10 s");
  Require(within(frame_shift, 0, 1e5f) && WindowShift() > 0,
          "frame_shift must hold at least one sample at resample_frequency, at most 100 s");
  Require(within(preemphasis_coefficient, 0, 1), "preemphasis_coefficient must be 0 to 1");
  Require(min_f0 >= 1 && within(max_f0, min_f0, resample_frequency),
          "min_f0 must be at least 1 Hz, max_f0 at least min_f0 and at most resample_frequency");
  Require(within(soft_min_f0, 0, 1e6f), "soft_min_f0 must be 0 to 1000000 Hz");
  Require(within(penalty_factor, 0, 1e6f), "penalty_factor must be 0 to 1000000");
  Require(within(delta_pitch, 1e-5f, 10), "delta_pitch must be 1e-5 to 10");
  Require(within(nccf_ballast, 0, 1e30f), "nccf_ballast must be 0 to 1e30");
  Require(max_frames_latency >= 0, "max_frames_latency must not be negative");
  Require(recompute_frame >= 0, "recompute_frame must not be negative");
  Require(frames_per_chunk >= 0 && (frames_per_chunk == 0 || ChunkSamples() > 0),
          "frames_per_chunk must be 0 or hold at least one sample");
  Require(frames_per_chunk > 0 || !simulate_first_pass_online,
          "simulate_first_pass_online needs frames_per_chunk > 0");
  CheckFilters();
}

void PitchOptions::CheckFilters() const {
  constexpr double kMaxWeights = 1e7;
  Require(lowpass_cutoff >= 1 && lowpass_cutoff * 2 <= sample_frequency &&
              lowpass_cutoff * 2 <= resample_frequency,
          "lowpass_cutoff must be at least 1 Hz and at most half of sample_frequency and of "
          "resample_frequency");
  Require(lowpass_filter_width > 0 && lowpass_filter_width <= 100,
          "lowpass_filter_width must be 1 to 100");
  Require(upsample_filter_width > 0 && upsample_filter_width <= 100,
          "upsample_filter_width must be 1 to 100");
  Require(FirstLag(*this) >= 0,
          "max_f0 is too high: it must be below about 2 * resample_frequency / "
          "upsample_filter_width");
  const int from = static_cast<int>(sample_frequency), to = static_cast<int>(resample_frequency);
  const double phases = to / std::gcd(from, to);
  Require(phases * from * lowpass_filter_width / lowpass_cutoff <= kMaxWeights,
          "the low-pass filter is too long: choose a lower lowpass_filter_width, or a "
          "resample_frequency with a large common divisor with sample_frequency");
}

PitchExtractor::PitchExtractor(const PitchOptions& options)
    : options_(Checked(options)),
      signal_resampler_(static_cast<int>(options.sample_frequency),
                        static_cast<int>(options.resample_frequency), options.lowpass_cutoff,
                        options.lowpass_filter_width),
      first_lag_(FirstLag(options)),
      last_lag_(LastLag(options)),
      lags_(SearchLags(options)),
      nccf_resampler_(NccfResampler(options, lags_)) {}

// While more signal is to come a frame also needs the samples of its longest
// lag.
int64_t PitchExtractor::FramesAvailable(int64_t num_resampled, bool finished) const {
  const int64_t shift = options_.WindowShift();
  const int64_t length = options_.WindowSize() + (finished ? 0 : last_lag_);
  if (num_resampled < length) return 0;
  if (options_.snip_edges) return (num_resampled - length) / shift + 1;
  const int64_t usable = finished ? num_resampled : num_resampled - length / 2;
  return static_cast<int64_t>(static_cast<float>(usable) / static_cast<float>(shift) + 0.5f);
}

int64_t PitchExtractor::NumFrames(int64_t num_samples) const {
  return FramesAvailable(signal_resampler_.NumOutput(num_samples, true), true);
}

// Follows the pitch through one utterance, given in chunks as an online decoder
// would see it.
class PitchTracker {
 public:
  PitchTracker(const PitchExtractor& extractor, const float* samples, int64_t num_samples);

  // Takes all frames that the first `num_samples` samples of the input give.
  // `finished`: there are no more.
  void Advance(int64_t num_samples, bool finished);
  int64_t NumFramesReady() const { return search_.NumFrames() - latency_; }
  // The NCCF and the pitch of `frame` on the path known now.
  void Get(int64_t frame, float* out) const;

 private:
  // What is kept of the first frames, to search them again with a better
  // estimate of the energy.
  struct FirstFrame {
    std::vector<float> nccf;  // at the search lags
    float mean_product;       // mean over the lags of the product of energies
    float mean_square;        // the estimate of the signal's mean square that was used
  };

  void AddFrame(int64_t frame);
  void ExtractWindow(int64_t start);
  void Correlate();
  double MeanSquare(int64_t end);
  double Ballast(double mean_square) const;
  void AddNccf(float ballast, std::vector<float>* nccf) const;
  void Step(const std::vector<float>& nccf);
  void SearchAgain();
  void UpdatePath();

  const PitchExtractor& extractor_;
  const PitchOptions& options_;
  std::vector<float> wave_;  // resampled
  int64_t available_ = 0;    // of the resampled signal, so far
  int64_t summed_ = 0;       // samples in the two sums
  double sum_ = 0.0, sum_squares_ = 0.0;
  std::vector<double> window_;
  std::vector<double> sums_;  // workspace of Correlate
  std::vector<float> products_, energies_, local_costs_;
  std::vector<float> plain_nccf_;  // (frames, measured lags), without ballast
  std::vector<FirstFrame> first_frames_;
  PitchSearch search_;
  int64_t latency_ = 0;
};

PitchTracker::PitchTracker(const PitchExtractor& extractor, const float* samples,
                           int64_t num_samples)
    : extractor_(extractor),
      options_(extractor.options_),
      wave_(extractor.signal_resampler_.Resample(samples, num_samples)),
      window_(options_.WindowSize() + extractor.last_lag_),
      sums_(extractor.last_lag_ + 1 - extractor.first_lag_),
      products_(sums_.size()),
      energies_(sums_.size()),
      local_costs_(extractor.lags_.size()),
      search_(static_cast<int>(extractor.lags_.size()),
              static_cast<float>(std::pow(std::log(1.0 + options_.delta_pitch), 2.0)) *
                  options_.penalty_factor) {}

// Copies the window to `window_`, zero outside the signal, pre-emphasized
// within it, and subtracts the mean of its first WindowSize() samples.
void PitchTracker::ExtractWindow(int64_t start) {
  const int64_t size = static_cast<int64_t>(window_.size());
  const int64_t begin = std::clamp<int64_t>(-start, 0, size);
  const int64_t end = std::clamp<int64_t>(available_ - start, begin, size);
  std::fill(window_.begin(), window_.end(), 0.0);
  std::copy(wave_.begin() + (start + begin), wave_.begin() + (start + end),
            window_.begin() + begin);
  const double coefficient = options_.preemphasis_coefficient;
  if (coefficient != 0.0 && begin < end) {
    for (int64_t i = end - 1; i > begin; --i) window_[i] -= coefficient * window_[i - 1];
    window_[begin] *= 1.0 - coefficient;
  }
  const int basic = options_.WindowSize();
  double sum = 0.0;
  for (int i = 0; i < basic; ++i) sum += window_[i];
  for (double& sample : window_) sample -= sum / basic;
}

// The products and energies of equation (1): of the window with itself shifted
// by every measured lag, and of the energies of both.
void PitchTracker::Correlate() {
  const int basic = options_.WindowSize(), first = extractor_.first_lag_;
  const int num_lags = static_cast<int>(sums_.size());
  std::fill(sums_.begin(), sums_.end(), 0.0);
  double window_energy = 0.0, shifted_energy = 0.0;
  for (int i = 0; i < basic; ++i) {
    const double* shifted = window_.data() + i + first;
    for (int lag = 0; lag < num_lags; ++lag) sums_[lag] += window_[i] * shifted[lag];
    window_energy += window_[i] * window_[i];
    shifted_energy += shifted[0] * shifted[0];
  }
  for (int lag = 0; lag < num_lags; ++lag) {
    products_[lag] = static_cast<float>(sums_[lag]);
    energies_[lag] = static_cast<float>(window_energy * std::max(0.0, shifted_energy));
    const double oldest = window_[first + lag];
    const double newest = lag + 1 < num_lags ? window_[first + lag + basic] : 0.0;
    shifted_energy += newest * newest - oldest * oldest;
  }
}

// Of the resampled signal up to `end`, its mean removed; `end` must not fall
// from call to call.
double PitchTracker::MeanSquare(int64_t end) {
  for (; summed_ < end; ++summed_) {
    const double sample = wave_[summed_];
    sum_ += sample;
    sum_squares_ += sample * sample;
  }
  const double count = static_cast<double>(summed_);
  return sum_squares_ / count - std::pow(sum_ / count, 2.0);
}

double PitchTracker::Ballast(double mean_square) const {
  return std::pow(mean_square * options_.WindowSize(), 2.0) * options_.nccf_ballast;
}

// Equation (2): appends the NCCF at the measured lags.
void PitchTracker::AddNccf(float ballast, std::vector<float>* nccf) const {
  for (size_t lag = 0; lag < products_.size(); ++lag) {
    const float norm = static_cast<float>(std::sqrt(static_cast<double>(energies_[lag] + ballast)));
    nccf->push_back(norm > 0.0f ? std::clamp(products_[lag] / norm, -1.01f, 1.01f) : 0.0f);
  }
}

// Equation (5): the local costs at the search lags, and a step of the search.
void PitchTracker::Step(const std::vector<float>& nccf) {
  for (size_t state = 0; state < nccf.size(); ++state) {
    const float lag = extractor_.lags_[state];
    local_costs_[state] = 1.0f - nccf[state] + options_.soft_min_f0 * lag * nccf[state];
  }
  search_.Step(local_costs_);
}

void PitchTracker::AddFrame(int64_t frame) {
  const int64_t shift = options_.WindowShift(), full = static_cast<int64_t>(window_.size());
  int64_t start = frame * shift;
  if (!options_.snip_edges) {
    start = static_cast<int64_t>((static_cast<double>(frame) + 0.5) * static_cast<double>(shift)) -
            full / 2;
  }
  const int64_t seen =
      options_.nccf_ballast_online ? std::min(start + full, available_) : available_;
  const double mean_square = MeanSquare(seen);
  ExtractWindow(start);
  Correlate();
  std::vector<float> nccf;
  AddNccf(static_cast<float>(Ballast(mean_square)), &nccf);
  AddNccf(0.0f, &plain_nccf_);
  std::vector<float> at_lags(local_costs_.size());
  for (size_t state = 0; state < at_lags.size(); ++state) {
    at_lags[state] = extractor_.nccf_resampler_.Sample(nccf.data(), static_cast<int>(state));
  }
  Step(at_lags);
  if (options_.nccf_ballast_online || frame >= options_.recompute_frame) return;
  double product = 0.0;
  for (const float energy : energies_) product += energy;
  first_frames_.push_back({std::move(at_lags),
                           static_cast<float>(product / static_cast<double>(energies_.size())),
                           static_cast<float>(mean_square)});
  if (frame + 1 == options_.recompute_frame) SearchAgain();
}

// With the signal's energy as now known, where it differs: the NCCF of the
// first frames is scaled by about the change that the new ballast makes, and
// the search done again.
void PitchTracker::SearchAgain() {
  const float mean_square = static_cast<float>(MeanSquare(available_));
  const auto differs = [mean_square](const FirstFrame& frame) {
    const float difference = std::fabs(frame.mean_square - mean_square);
    return difference > 0.01f * (std::fabs(frame.mean_square) + std::fabs(mean_square));
  };
  if (std::any_of(first_frames_.begin(), first_frames_.end(), differs)) {
    const float ballast = static_cast<float>(Ballast(mean_square));
    search_.Restart();
    for (FirstFrame& frame : first_frames_) {
      const float old_ballast = static_cast<float>(Ballast(frame.mean_square));
      const float norm = ballast + frame.mean_product;
      const float scale = norm > 0 ? std::sqrt((old_ballast + frame.mean_product) / norm) : 1.0f;
      for (float& value : frame.nccf) value *= scale;
      Step(frame.nccf);
    }
  }
  first_frames_.clear();
}

void PitchTracker::UpdatePath() {
  search_.TraceBack();
  latency_ = search_.Latency(options_.max_frames_latency);
}

void PitchTracker::Advance(int64_t num_samples, bool finished) {
  available_ = extractor_.signal_resampler_.NumOutput(num_samples, finished);
  const int64_t num_frames = extractor_.FramesAvailable(available_, finished);
  for (int64_t frame = search_.NumFrames(); frame < num_frames; ++frame) AddFrame(frame);
  if (finished) SearchAgain();
  UpdatePath();
  if (finished) latency_ = 0;
}

void PitchTracker::Get(int64_t frame, float* out) const {
  const int state = search_.State(frame);
  const float* nccf = plain_nccf_.data() + frame * static_cast<int64_t>(products_.size());
  out[0] = extractor_.nccf_resampler_.Sample(nccf, state);
  out[1] = static_cast<float>(1.0 / extractor_.lags_[state]);
}

void PitchExtractor::Compute(const float* samples, int64_t num_samples, float* out) const {
  if (NumFrames(num_samples) == 0) return;
  PitchTracker tracker(*this, samples, num_samples);
  const int64_t chunk = options_.frames_per_chunk > 0 ? options_.ChunkSamples() : num_samples;
  int64_t frames_done = 0;
  for (int64_t end = 0; end < num_samples;) {
    end = std::min(end + chunk, num_samples);
    tracker.Advance(end, false);
    const bool last = end == num_samples;
    if (last) tracker.Advance(end, true);
    if (!last && !options_.simulate_first_pass_online) continue;
    for (; frames_done < tracker.NumFramesReady(); ++frames_done) {
      tracker.Get(frames_done, out + 2 * frames_done);
    }
  }
}

}  // namespace kdspeech
