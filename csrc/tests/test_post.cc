// Pitch, deltas, splice, CMVN, VAD and transforms over random sizes, against
// their definitions.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "feat/cmvn.h"
#include "feat/delta.h"
#include "feat/error.h"
#include "feat/pitch.h"
#include "feat/pitch_process.h"
#include "feat/pitch_search.h"
#include "feat/sinc_resample.h"
#include "feat/splice.h"
#include "feat/vad.h"
#include "transform/affine.h"

namespace {

using kdspeech::PitchExtractor;
using kdspeech::PitchOptions;

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      std::fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                            \
    }                                                                          \
  } while (false)

std::mt19937 rng(1);

int Random(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

std::vector<float> Noise(int64_t size, float scale = 1.0f) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(size);
  for (float& value : values) value = normal(rng);
  return values;
}

bool Near(double a, double b, double tolerance) { return std::fabs(a - b) <= tolerance; }

int64_t Clamp(int64_t frame, int64_t frames) { return std::clamp<int64_t>(frame, 0, frames - 1); }

void TestDeltas(int64_t frames, int dim) {
  const std::vector<float> in = Noise(frames * dim);
  const int order = Random(0, 3), window = Random(1, 4);
  std::vector<float> out(frames * dim * (order + 1));
  kdspeech::AddDeltas(in.data(), frames, dim, order, window, out.data());
  for (int64_t t = 0; t < frames; ++t) {
    for (int d = 0; d < dim; ++d) {
      const float* row = out.data() + t * dim * (order + 1);
      CHECK(row[d] == in[t * dim + d]);
      if (order == 0) continue;
      double slope = 0.0, norm = 0.0;
      for (int j = -window; j <= window; ++j) {
        slope += j * in[Clamp(t + j, frames) * dim + d];
        norm += j * j;
      }
      CHECK(Near(row[dim + d], slope / norm, 1e-5));
    }
  }
}

void TestSplice(int64_t frames, int dim) {
  const std::vector<float> in = Noise(frames * dim);
  const int left = Random(0, 6), right = Random(0, 6), width = left + 1 + right;
  std::vector<float> out(frames * dim * width);
  kdspeech::Splice(in.data(), frames, dim, left, right, out.data());
  for (int64_t t = 0; t < frames; ++t) {
    for (int c = 0; c < dim * width; ++c) {
      CHECK(out[t * dim * width + c] == in[Clamp(t + c / dim - left, frames) * dim + c % dim]);
    }
  }
}

void TestCmvn(int64_t frames, int dim) {
  const std::vector<float> in = Noise(frames * dim, 5.0f), weights(frames, 1.0f);
  std::vector<double> stats(2 * (dim + 1)), weighted(stats);
  kdspeech::AccumulateCmvn(in.data(), frames, dim, nullptr, stats.data());
  kdspeech::AccumulateCmvn(in.data(), frames, dim, weights.data(), weighted.data());
  CHECK(stats == weighted && stats[dim] == static_cast<double>(frames) && stats.back() == 0.0);
  if (frames == 0) return;
  std::vector<float> scale(dim), offset(dim), out(frames * dim), back(frames * dim);
  kdspeech::CmvnScaleOffset(stats.data(), dim, true, false, scale.data(), offset.data());
  kdspeech::ApplyScaleOffset(in.data(), frames, dim, scale.data(), offset.data(), out.data());
  kdspeech::CmvnScaleOffset(stats.data(), dim, true, true, scale.data(), offset.data());
  kdspeech::ApplyScaleOffset(out.data(), frames, dim, scale.data(), offset.data(), back.data());
  for (int d = 0; d < dim; ++d) {
    double mean = 0.0;
    for (int64_t t = 0; t < frames; ++t) {
      mean += out[t * dim + d] / static_cast<double>(frames);
      CHECK(frames == 1 || Near(back[t * dim + d], in[t * dim + d], 1e-4));
    }
    CHECK(frames == 1 || Near(mean, 0.0, 1e-4));
  }
}

// With a window over all frames the result is that of the whole utterance.
void TestSlidingCmvn(int64_t frames, int dim) {
  const std::vector<float> in = Noise(frames * dim, 5.0f);
  std::vector<float> out(frames * dim);
  kdspeech::SlidingCmvnOptions options;
  options.cmn_window = Random(1, 50);
  options.min_cmn_window = Random(1, 80);
  options.center = Random(0, 1) == 1;
  options.norm_vars = Random(0, 1) == 1;
  kdspeech::SlidingCmvn(in.data(), frames, dim, options, out.data());
  for (const float value : out) CHECK(std::isfinite(value));
  kdspeech::SlidingCmvn(in.data(), frames, dim, {1000, 1000, false, false}, out.data());
  for (int d = 0; d < dim; ++d) {
    double sum = 0.0;
    for (int64_t t = 0; t < frames; ++t) sum += in[t * dim + d];
    for (int64_t t = 0; t < frames; ++t) {
      CHECK(Near(out[t * dim + d], in[t * dim + d] - sum / static_cast<double>(frames), 1e-4));
    }
  }
}

void TestVad(int64_t frames, int dim) {
  const std::vector<float> in = Noise(frames * dim, 5.0f);
  std::vector<float> out(frames);
  kdspeech::VadOptions options;
  options.vad_energy_mean_scale = 0.0f;
  options.vad_energy_threshold = 1.0f;
  options.vad_frames_context = Random(0, 40);
  options.vad_proportion_threshold = 0.3f;
  kdspeech::EnergyVad(in.data(), frames, dim, options, out.data());
  for (int64_t t = 0; t < frames; ++t) {
    int loud = 0, all = 0;
    for (int64_t s = t - options.vad_frames_context; s <= t + options.vad_frames_context; ++s) {
      if (s < 0 || s >= frames) continue;
      ++all;
      if (in[s * dim] > 1.0f) ++loud;
    }
    const float needed = static_cast<float>(all) * 0.3f;
    CHECK(out[t] == (static_cast<float>(loud) >= needed ? 1.0f : 0.0f));
  }
}

void TestAffine(int64_t frames, int dim) {
  const int rows = Random(1, 9);
  const bool affine = Random(0, 1) == 1;
  const int columns = dim + (affine ? 1 : 0);
  const std::vector<float> in = Noise(frames * dim);
  const std::vector<float> matrix = Noise(static_cast<int64_t>(rows) * columns);
  std::vector<float> out(frames * rows);
  kdspeech::ApplyAffine(in.data(), frames, dim, matrix.data(), rows, affine, out.data());
  for (int64_t t = 0; t < frames; ++t) {
    for (int row = 0; row < rows; ++row) {
      double sum = affine ? matrix[row * columns + dim] : 0.0;
      for (int d = 0; d < dim; ++d) sum += matrix[row * columns + d] * in[t * dim + d];
      CHECK(Near(out[t * rows + row], sum, 1e-4));
    }
  }
}

// The path found costs as little as the best one of a plain search over all
// steps.
void TestSearch(int64_t frames, int states) {
  const float step_cost = Random(0, 3) == 0 ? 0.0f : std::pow(10.0f, Random(-5, 0));
  kdspeech::PitchSearch search(states, step_cost);
  std::vector<std::vector<float>> local;
  std::vector<double> costs(states, 0.0);
  for (int64_t t = 0; t < frames; ++t) {
    local.push_back(Noise(states));
    search.Step(local.back());
    std::vector<double> next(states, 1e30);
    for (int i = 0; i < states; ++i) {
      for (int j = 0; j < states; ++j) {
        next[i] = std::min(next[i], costs[j] + step_cost * (i - j) * (i - j));
      }
      next[i] += local[t][i];
    }
    costs = next;
    if (Random(0, 3) == 0) search.TraceBack();
  }
  if (frames == 0) return;
  search.TraceBack();
  double cost = 0.0;
  for (int64_t t = 0; t < frames; ++t) {
    const int step = t == 0 ? 0 : search.State(t) - search.State(t - 1);
    cost += local[t][search.State(t)] + step_cost * step * step;
  }
  CHECK(Near(cost, *std::min_element(costs.begin(), costs.end()), 1e-3));
  CHECK(search.Latency(0) == 0 && search.Latency(1 << 20) <= frames);
}

// A wave well below the cutoff keeps its values at the new sampling points.
void TestResample() {
  const int rates[] = {8000, 11025, 16000, 22050, 44100, 48000};
  const int from = rates[Random(0, 5)], to = rates[Random(0, 5)];
  const int size = Random(0, 2000);
  const kdspeech::LinearResampler resampler(
      from, to, 0.49f * static_cast<float>(std::min(from, to)), Random(6, 20));
  std::vector<float> in(size);
  for (int i = 0; i < size; ++i) in[i] = std::sin(6.2832f * 500.0f * i / from);
  const std::vector<float> out = resampler.Resample(in.data(), size);
  CHECK(static_cast<int64_t>(out.size()) == (int64_t{size} * to + from - 1) / from);
  CHECK(resampler.NumOutput(size, false) <= resampler.NumOutput(size, true));
  for (size_t i = 200; i + 200 < out.size(); ++i) {
    CHECK(Near(out[i], std::sin(6.2832 * 500.0 * static_cast<double>(i) / to), 0.03));
  }
}

PitchOptions RandomPitchOptions() {
  PitchOptions options;
  options.sample_frequency = Random(0, 1) ? 8000.0f : 16000.0f;
  options.frame_length = static_cast<float>(Random(5, 60));
  options.frame_shift = static_cast<float>(Random(2, 40));
  options.preemphasis_coefficient = Random(0, 1) ? 0.97f : 0.0f;
  options.nccf_ballast = Random(0, 2) ? 7000.0f : 0.0f;
  options.delta_pitch = Random(0, 1) ? 0.005f : 0.05f;
  options.lowpass_filter_width = Random(1, 3);
  options.upsample_filter_width = Random(1, 7);
  options.max_frames_latency = Random(0, 10);
  options.frames_per_chunk = Random(0, 1) ? Random(1, 12) : 0;
  options.simulate_first_pass_online = options.frames_per_chunk > 0 && Random(0, 1);
  options.recompute_frame = Random(0, 1) ? 500 : Random(0, 8);
  options.nccf_ballast_online = Random(0, 3) == 0;
  options.snip_edges = Random(0, 1) == 1;
  return options;
}

void TestPitch(int64_t size) {
  const PitchOptions options = RandomPitchOptions();
  const PitchExtractor extractor(options);
  std::vector<float> samples = Noise(size, 1000.0f);
  std::fill(samples.begin(), samples.begin() + Random(0, static_cast<int>(size)), 0.0f);
  const int64_t frames = extractor.NumFrames(size);
  std::vector<float> raw(frames * 2, -1.0f);
  extractor.Compute(samples.data(), size, raw.data());
  for (int64_t t = 0; t < frames; ++t) {
    CHECK(std::fabs(raw[2 * t]) < 1.5f);
    CHECK(raw[2 * t + 1] > 49.0f && raw[2 * t + 1] < 401.0f);
  }
  if (frames == 0) return;
  kdspeech::ProcessPitchOptions process;
  process.add_raw_log_pitch = Random(0, 1) == 1;
  process.normalization_left_context = Random(0, 90);
  process.normalization_right_context = Random(0, 90);
  process.delta_window = Random(1, 4);
  process.delay = Random(0, 5);
  process.delta_pitch_noise_stddev = Random(0, 1) ? 0.005f : 0.0f;
  std::vector<float> out((frames + process.delay) * process.Dim(), NAN);
  kdspeech::ProcessPitch(raw.data(), frames, process, 3, out.data());
  for (const float value : out) CHECK(std::isfinite(value));
}

void TestBadPitchOptions() {
  const auto refused = [](void (*change)(PitchOptions*)) {
    PitchOptions options;
    change(&options);
    try {
      PitchExtractor extractor(options);
    } catch (const kdspeech::InputError&) {
      return true;
    }
    return false;
  };
  CHECK(!refused([](PitchOptions*) {}));
  CHECK(refused([](PitchOptions* o) { o->min_f0 = NAN; }));
  CHECK(refused([](PitchOptions* o) { o->sample_frequency = INFINITY; }));
  CHECK(refused([](PitchOptions* o) { o->max_f0 = 3000; }));
  CHECK(refused([](PitchOptions* o) { o->frame_shift = 1e30f; }));
  CHECK(refused([](PitchOptions* o) { o->lowpass_filter_width = 101; }));
  CHECK(refused([](PitchOptions* o) { o->delta_pitch = 1e-5f; }));
}

}  // namespace

int main() {
  TestBadPitchOptions();
  for (int round = 0; round < 400; ++round) {
    const int64_t frames = round % 4 == 0 ? round / 4 % 3 : Random(0, 120);
    const int dim = Random(1, 20);
    TestDeltas(frames, dim);
    TestSplice(frames, dim);
    TestCmvn(frames, dim);
    TestSlidingCmvn(frames, dim);
    TestVad(frames, dim);
    TestAffine(frames, dim);
    TestSearch(frames / 4, Random(1, 60));
    TestResample();
    TestPitch(round % 3 == 0 ? Random(0, 600) : Random(0, 8000));
  }
  std::puts("test_post: ok");
}
