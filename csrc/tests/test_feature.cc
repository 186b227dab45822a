// MFCC, fbank and PLP over random options, waves and numbers of threads, in every SIMD variant:
// either the options are refused, or the features are finite and the same each time.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "feat/error.h"
#include "feat/feature.h"
#include "feat/fft.h"
#include "feat/kernel.h"
#include "feat/resample.h"
#include "feat/samples.h"

namespace {

using kdspeech::FeatureComputer;
using kdspeech::FeatureJob;
using kdspeech::FeatureKind;
using kdspeech::FeatureOptions;

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      std::fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                            \
    }                                                                          \
  } while (false)

std::mt19937 rng(1);

int Random(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

float RandomFloat(float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(rng);
}

bool Flip() { return Random(0, 1) == 1; }

// Mostly sensible options; about one set in three is refused.
FeatureOptions RandomOptions() {
  const char* const windows[] = {"hamming",     "hanning",  "povey", "povey",
                                 "rectangular", "blackman", "sine",  "triangle"};
  FeatureOptions options;
  options.kind = static_cast<FeatureKind>(Random(0, 2));
  options.frame.sample_frequency = Flip() ? 16000.0f : RandomFloat(100.0f, 50000.0f);
  options.frame.frame_length = Flip() ? 25.0f : RandomFloat(0.1f, 60.0f);
  options.frame.frame_shift = Flip() ? 10.0f : RandomFloat(0.1f, 40.0f);
  options.frame.dither = Flip() ? 0.0f : RandomFloat(-0.1f, 10.0f);
  options.frame.preemphasis_coefficient = Flip() ? 0.97f : RandomFloat(-0.05f, 1.05f);
  options.frame.remove_dc_offset = Flip();
  options.frame.window_type = windows[Random(0, 7)];
  options.frame.round_to_power_of_two = Flip();
  options.frame.snip_edges = Flip();
  options.mel.num_mel_bins = Random(2, 40);
  options.mel.low_freq = Flip() ? 20.0f : RandomFloat(-10.0f, 500.0f);
  options.mel.high_freq = Flip() ? 0.0f : RandomFloat(-4000.0f, 8000.0f);
  options.use_energy = Flip();
  options.energy_floor = Flip() ? 0.0f : RandomFloat(-1.0f, 1e9f);
  options.raw_energy = Flip();
  options.htk_compat = Flip();
  options.subtract_mean = Flip();
  options.num_ceps = Random(0, options.mel.num_mel_bins + 1);
  options.cepstral_lifter = Flip() ? 22.0f : RandomFloat(0.0f, 50.0f);
  options.use_log_fbank = Flip();
  options.use_power = Flip();
  options.lpc_order = Random(options.num_ceps - 2, options.num_ceps + 10);
  options.compress_factor = RandomFloat(0.1f, 1.05f);
  options.cepstral_scale = RandomFloat(-10.0f, 10.0f);
  return options;
}

// A wave of its own heap block, so that a read beyond its end is seen by the sanitizers.
template <typename T>
std::vector<T> RandomWave() {
  std::vector<T> wave(Flip() ? Random(1, 30) : Random(1, 9000));
  const float amplitude = Flip() ? 0.0f : RandomFloat(1.0f, 32767.0f);
  for (T& sample : wave) sample = static_cast<T>(RandomFloat(-amplitude, amplitude));
  wave.shrink_to_fit();
  return wave;
}

template <typename T>
void CheckWaves(const FeatureComputer& computer) {
  const float warps[] = {1.0f, 1.0f, 1.0f, 0.97f, 1.03f};
  std::vector<std::vector<T>> waves;
  std::vector<std::vector<float>> single, batch;
  std::vector<FeatureJob> jobs;
  const float refused = Random(0, 20) == 0 ? -1.0f : 1.0f;
  for (int i = Random(1, 4); i > 0; i--) waves.push_back(RandomWave<T>());
  single.resize(waves.size());
  batch.resize(waves.size());
  for (size_t i = 0; i < waves.size(); i++) {
    const int64_t n = static_cast<int64_t>(waves[i].size());
    const size_t size = static_cast<size_t>(computer.NumFrames(n) * computer.Dim());
    FeatureJob job;
    job.wave = kdspeech::Wave(waves[i].data(), n);
    job.seed = i;
    job.vtln_warp = refused * warps[Random(0, 4)];
    single[i].assign(size, -1.0f);
    batch[i].assign(size, -2.0f);
    job.out = batch[i].data();
    computer.Compute(waves[i].data(), n, job.seed, job.vtln_warp, single[i].data());
    jobs.push_back(job);
  }
  computer.ComputeBatch(jobs, Random(1, 3));
  for (size_t i = 0; i < waves.size(); i++) {
    CHECK(single[i] == batch[i]);
    for (const float value : single[i]) CHECK(std::isfinite(value));
  }
}

bool CheckRandomOptions() {
  try {
    const FeatureComputer computer(RandomOptions());
    CHECK(computer.Dim() > 0);
    CHECK(computer.NumFrames(0) == 0);
    CheckWaves<int16_t>(computer);
    CheckWaves<float>(computer);
  } catch (const kdspeech::InputError& error) {
    CHECK(error.what()[0] != '\0');
    return false;
  }
  return true;
}

void CheckVariant(const char* name) {
  setenv("KDSPEECH_SIMD", name, 1);
  CHECK(std::string(kdspeech::ActiveKernel().name) == name);
  int computed = 0;
  const int tries = 1000;
  for (int i = 0; i < tries; i++) computed += CheckRandomOptions() ? 1 : 0;
  std::printf("%s: %d of %d sets of options accepted\n", name, computed, tries);
  CHECK(computed > tries / 10);
  unsetenv("KDSPEECH_SIMD");
}

void CheckPositions() {
  for (int size = 2; size < 600; size += 2) {
    const kdspeech::FftPlan plan = kdspeech::MakeFftPlan(size);
    std::vector<bool> seen(plan.num_complex, false);
    for (const int position : plan.position) {
      CHECK(position >= 0 && position < plan.num_complex && !seen[position]);
      seen[position] = true;
    }
  }
}

void CheckResampling() {
  for (int i = 0; i < 50; i++) {
    const std::vector<float> wave = RandomWave<float>();
    const int from = Random(1, 8) * 1000, to = Random(1, 8) * 1000;
    const int64_t n = static_cast<int64_t>(wave.size());
    const std::vector<float> out = kdspeech::Resample(wave.data(), n, from, to);
    CHECK(static_cast<int64_t>(out.size()) == (n * to + from - 1) / from);
  }
}

void CheckSampleChecks() {
  for (int n = 1; n < 100; n++) {
    std::vector<float> wave(n, 0.5f);
    CHECK(kdspeech::CheckSamples(wave.data(), n).normalized);
    const int bad = Random(0, n - 1);
    wave[bad] = Flip() ? NAN : -INFINITY;
    CHECK(kdspeech::CheckSamples(wave.data(), n).first_bad == bad);
  }
}

}  // namespace

int main() {
  CheckPositions();
  CheckResampling();
  CheckSampleChecks();
  for (const auto* kernel = kdspeech::AvailableKernels(); *kernel != nullptr; kernel++) {
    CheckVariant((*kernel)->name);
  }
  return 0;
}
