// Crops under the sanitizers: every law on clips shorter and longer than the crop, starts far
// outside, noise shorter than the crop, several threads.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>

#include "feat/crop.h"
#include "feat/crop_features.h"
#include "feat/parallel.h"
#include "feat/window_energy.h"

using namespace kdspeech;

namespace {

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                        \
    }                                                                      \
  } while (false)

// A pack on the heap, its samples exactly as long as needed: reads outside are caught.
struct Pack {
  std::vector<int16_t> samples;
  std::vector<int64_t> offsets, num_samples;
  std::vector<uint64_t> hashes;

  Pack(const std::vector<int64_t>& lengths, unsigned seed) {
    std::mt19937 random(seed);
    for (const int64_t n : lengths) {
      offsets.push_back(static_cast<int64_t>(samples.size()));
      num_samples.push_back(n);
      hashes.push_back(HashUtterance("utt" + std::to_string(n)));
      for (int64_t i = 0; i < n; ++i) samples.push_back(static_cast<int16_t>(random()));
    }
    samples.shrink_to_fit();
  }

  Clips Get() const {
    return {samples.data(), offsets.data(), num_samples.data(), hashes.data(),
            static_cast<int64_t>(num_samples.size())};
  }
};

constexpr CropMode kModes[] = {CropMode::kRandom, CropMode::kCenter, CropMode::kBestEnergy,
                               CropMode::kEnergy, CropMode::kSliding};

int64_t SampleAt(const Pack& pack, const Crop& crop, int64_t i) {
  const int64_t n = pack.num_samples[crop.clip];
  const bool inside = crop.start >= -i && crop.start < n - i;
  return inside ? pack.samples[pack.offsets[crop.clip] + crop.start + i] : 0;
}

void CheckCrop(const Pack& pack, const Cropper& cropper, const Crop& crop) {
  const int64_t length = cropper.Law().length;
  std::vector<float> real(length);
  std::vector<int16_t> whole(length);
  std::vector<float> scratch;
  cropper.Cut(crop, real.data());
  cropper.Cut(crop, whole.data(), &scratch);
  for (int64_t i = 0; i < length; ++i) {
    const int64_t expected = SampleAt(pack, crop, i);
    CHECK(real[i] == static_cast<float>(expected));
    CHECK(whole[i] == expected);
  }
}

void TestCropsEqualTheClip() {
  const Pack pack({1, 2, 99, 100, 101, 1000}, 1);
  std::vector<int64_t> scratch;
  for (const CropMode mode : kModes) {
    for (const int64_t length : {1, 7, 100, 999, 3000}) {
      for (const int64_t shift : {0, 150}) {
        CropLaw law;
        law.length = length;
        law.mode = mode;
        law.shift = shift;
        law.hop = mode == CropMode::kEnergy ? 3 : 1;
        const Cropper cropper(law, pack.Get(), nullptr);
        for (int64_t clip = 0; clip < pack.Get().size; ++clip) {
          const int64_t start = cropper.Start(clip, 5, &scratch);
          const int64_t spare = pack.num_samples[clip] - length;
          CHECK(start >= std::min<int64_t>(0, spare) - shift);
          CHECK(start <= std::max<int64_t>(0, spare) + shift);
          CheckCrop(pack, cropper, {clip, 5, start});
        }
      }
    }
  }
}

void TestStartsFarOutside() {
  using Limits = std::numeric_limits<int64_t>;
  const Pack pack({50}, 2);
  const Pack noise({3, 200}, 3);
  const Clips noise_clips = noise.Get();
  CropLaw law;
  law.length = 20;
  law.noise_prob = 1.0;
  const Cropper clean(law, pack.Get(), nullptr);
  const Cropper noisy(law, pack.Get(), &noise_clips);
  std::vector<float> out(law.length);
  for (const int64_t start : {Limits::min(), Limits::min() + 1, int64_t{-20}, int64_t{-19},
                              int64_t{49}, int64_t{50}, Limits::max() - 1, Limits::max()}) {
    for (int64_t id = 0; id < 10; ++id) {
      CheckCrop(pack, clean, {0, id, start});
      noisy.Cut({0, id, start}, out.data());
    }
  }
}

// The energy of each window by itself.
std::vector<int64_t> EnergiesOneByOne(const std::vector<int16_t>& x, int64_t length, int64_t hop) {
  std::vector<int64_t> energies;
  for (int64_t begin = 0; begin + length <= static_cast<int64_t>(x.size()); begin += hop) {
    int64_t sum = 0;
    for (int64_t i = begin; i < begin + length; ++i) sum += int64_t{x[i]} * x[i];
    energies.push_back(sum);
  }
  return energies;
}

void CheckEnergies(const Kernel& kernel, const std::vector<int16_t>& x, int64_t length,
                   int64_t hop) {
  std::vector<int64_t> scratch;
  const WindowEnergies found(kernel, x.data(), x.size(), length, hop, &scratch);
  const std::vector<int64_t> expected = EnergiesOneByOne(x, length, hop);
  CHECK(found.NumWindows() == static_cast<int64_t>(expected.size()));
  const auto best = std::max_element(expected.begin(), expected.end());
  CHECK(found.Best().index == best - expected.begin() && found.Best().energy == *best);
  for (const int64_t least : {int64_t{0}, *best / 2, *best - *best / 16, *best, *best + 1}) {
    int64_t count = 0;
    for (size_t k = 0; k < expected.size(); ++k) {
      if (expected[k] >= least) CHECK(found.Find(least, count++) == static_cast<int64_t>(k));
    }
    CHECK(found.Count(least) == count);
  }
}

void TestWindowEnergies() {
  std::vector<int16_t> noise = Pack({500}, 4).samples;
  std::vector<int16_t> quiet(500, 0), loud(500, -32768), pulse(500, 0);
  pulse[130] = pulse[400] = 7;
  for (const Kernel* const* kernel = AvailableKernels(); *kernel != nullptr; ++kernel) {
    for (const std::vector<int16_t>& x : {noise, quiet, loud, pulse}) {
      for (const int64_t length : {1, 64, 100, 436, 437, 499, 500}) {
        for (const int64_t hop : {1, 3, 64, 70, 1000}) CheckEnergies(**kernel, x, length, hop);
      }
    }
  }
}

// By the formula, one sample after the other.
std::vector<float> PlayedOneByOne(const std::vector<int16_t>& clip, double speed, int64_t first,
                                  int64_t count) {
  const int64_t last = static_cast<int64_t>(clip.size()) - 1;
  std::vector<float> out;
  for (int64_t i = first; i < first + count; ++i) {
    const double at = static_cast<double>(i) * speed;
    const int64_t left = std::min(static_cast<int64_t>(at), last);
    const float a = clip[left], b = clip[std::min(left + 1, last)];
    const volatile float step = static_cast<float>(at - static_cast<double>(left)) * (b - a);
    out.push_back(a + step);  // volatile: rounded before it is added
  }
  return out;
}

void TestPlayedClips() {
  for (const int64_t n : {1, 2, 33, 500}) {
    const std::vector<int16_t> clip = Pack({n}, 9).samples;
    for (const double speed : {0.5, 0.93333, 1.0, 1.1, 1.5}) {
      const int64_t played = 1 + static_cast<int64_t>(static_cast<double>(n - 1) / speed);
      for (const int64_t first : {int64_t{0}, played / 3}) {
        for (const int64_t count : {played - first, (played - first) / 2}) {
          const std::vector<float> expected = PlayedOneByOne(clip, speed, first, count);
          for (const Kernel* const* k = AvailableKernels(); *k != nullptr; ++k) {
            std::vector<float> out(count);
            (*k)->play(clip.data(), n, speed, first, count, out.data());
            CHECK(out == expected);
          }
        }
      }
    }
  }
}

void TestThreadsGiveTheSame() {
  const Pack pack({400, 90, 1000}, 5);
  const Pack noise({70, 5000}, 6);
  const Clips noise_clips = noise.Get();
  CropLaw law;
  law.length = 300;
  law.mode = CropMode::kEnergy;
  law.shift = 40;
  law.gain_db = 6.0;
  law.speed = 0.3;
  const Cropper cropper(law, pack.Get(), &noise_clips);
  const int64_t size = 64;
  const auto cut = [&](int64_t num_threads) {
    std::vector<int16_t> out(size * law.length);
    ParallelFor(size, num_threads, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> energies;
      std::vector<float> scratch;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t start = cropper.Start(i % 3, i, &energies);
        cropper.Cut({i % 3, i, start}, out.data() + i * law.length, &scratch);
      }
    });
    return out;
  };
  const std::vector<int16_t> expected = cut(1);
  for (const int64_t num_threads : {2, 5, 1000}) CHECK(cut(num_threads) == expected);
}

void TestFusedFeaturesEqualThoseOfTheCrops() {
  const Pack pack({4000, 700, 9000}, 7);
  const Pack noise({333, 20000}, 8);
  const Clips noise_clips = noise.Get();
  CropLaw law;
  law.length = 3001;
  law.shift = 100;
  const Cropper cropper(law, pack.Get(), &noise_clips);
  const FeatureComputer computer{FeatureOptions()};
  const int64_t shown = 5000;
  const int64_t size = computer.NumFrames(shown) * computer.Dim();
  std::vector<Crop> batch;
  for (int64_t id = 0; id < 9; ++id) batch.push_back({id % 3, id, 1000 * (id - 4)});
  std::vector<float> one(batch.size() * size), several(batch.size() * size);
  ComputeCropFeatures(computer, cropper, batch, shown, 1.0f, 1, one.data());
  ComputeCropFeatures(computer, cropper, batch, shown, 1.0f, 4, several.data());
  CHECK(one == several);
  for (size_t i = 0; i < batch.size(); ++i) {
    std::vector<float> samples(shown, 0.0f), expected(size);
    cropper.Cut(batch[i], samples.data() + (shown - law.length) / 2);
    const uint64_t seed = DitherSeed(cropper.Key(batch[i]));
    computer.Compute(samples.data(), shown, seed, 1.0f, expected.data());
    CHECK(std::equal(expected.begin(), expected.end(), one.begin() + i * size));
  }
}

void TestParallelForPassesExceptionsOn() {
  bool caught = false;
  try {
    ParallelFor(8, 4, [](int64_t begin, int64_t) {
      if (begin > 3) throw std::runtime_error("part");
    });
  } catch (const std::runtime_error&) {
    caught = true;
  }
  CHECK(caught);
  ParallelFor(0, 4, [](int64_t begin, int64_t end) { CHECK(begin == end); });
}

}  // namespace

int main() {
  TestCropsEqualTheClip();
  TestStartsFarOutside();
  TestWindowEnergies();
  TestPlayedClips();
  TestThreadsGiveTheSame();
  TestFusedFeaturesEqualThoseOfTheCrops();
  TestParallelForPassesExceptionsOn();
  return 0;
}
