#include "feat/crop.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "feat/window_energy.h"

namespace kdspeech {

namespace {

// What a random number is for; part of the law, so the values stay as they are.
enum Purpose : uint64_t {
  kForStart = 1,
  kForShift = 2,
  kForGain = 3,
  kForNoise = 4,
  kForNoiseClip = 5,
  kForNoisePhase = 6,
  kForNoiseScale = 7,
  kForDither = 8,
  kForSpeed = 9,
};

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio, SplitMix64's increment

// The finalizer of SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
// generators", with Stafford's variant 13 constants).
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

uint64_t Draw(uint64_t key, Purpose purpose) { return Mix(key + kGolden * purpose); }

// Uniform in [low, high]. The modulo favours small values by less than (high - low) / 2^64.
int64_t DrawInteger(uint64_t key, Purpose purpose, int64_t low, int64_t high) {
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
  return low + static_cast<int64_t>(Draw(key, purpose) % range);
}

// Uniform in [0, 1).
double DrawUniform(uint64_t key, Purpose purpose) {
  return static_cast<double>(Draw(key, purpose) >> 11) * 0x1p-53;
}

// Samples [first, last) of a crop lie inside the clip; sample i is clip[i + start].
struct Overlap {
  int64_t first;
  int64_t last;
};

Overlap FindOverlap(int64_t num_samples, int64_t start, int64_t length) {
  if (start >= num_samples || start <= -length) return {0, 0};
  return {std::max<int64_t>(-start, 0), std::min(length, num_samples - start)};
}

void Convert(const int16_t* __restrict in, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]);
}

// Samples of a clip that is played at `speed`: the last one still lies within the clip.
int64_t PlayedLength(int64_t num_samples, double speed) {
  return 1 + static_cast<int64_t>(static_cast<double>(num_samples - 1) / speed);
}

void Scale(float gain, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= gain;
}

void AddScaled(const int16_t* __restrict in, float scale, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] += scale * static_cast<float>(in[i]);
}

void Round(const float* __restrict in, int64_t n, int16_t* __restrict out) {
  for (int64_t i = 0; i < n; ++i) {
    const float x = std::min(std::max(in[i], -32768.0f), 32767.0f);
    out[i] = static_cast<int16_t>(std::nearbyint(x));
  }
}

// A uniform pick among the windows with at least `min_energy` times the largest energy.
int64_t EnergyWindow(const WindowEnergies& energies, double min_energy, uint64_t key) {
  const int64_t best = energies.Best().energy;
  // Not above the best: beyond 2^53 the product could round up past it.
  const int64_t least =
      std::min(best, static_cast<int64_t>(std::ceil(min_energy * static_cast<double>(best))));
  const int64_t picked = DrawInteger(key, kForStart, 0, energies.Count(least) - 1);
  return energies.Find(least, picked);
}

// Start of a crop of a clip that is not longer than the crop.
int64_t ShortClipStart(const CropLaw& law, int64_t num_samples, uint64_t key) {
  if (law.pad_end) return 0;
  const int64_t missing = law.length - num_samples;
  const bool random = law.mode == CropMode::kRandom || law.mode == CropMode::kEnergy;
  return random ? DrawInteger(key, kForStart, -missing, 0) : -(missing / 2);
}

}  // namespace

uint64_t HashUtterance(std::string_view utterance) {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a, 64 bits
  for (const char c : utterance) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  }
  return Mix(hash);
}

uint64_t CropKey(uint64_t seed, uint64_t utterance_hash, int64_t crop_id) {
  const uint64_t utterance_key = Mix(Mix(seed + kGolden) ^ utterance_hash);
  return Mix(utterance_key + kGolden * static_cast<uint64_t>(crop_id));
}

uint64_t DitherSeed(uint64_t key) { return Draw(key, kForDither); }

Cropper::Cropper(const CropLaw& law, const Clips& clips, const Clips* noise)
    : kernel_(ActiveKernel()), law_(law), clips_(clips), noise_(noise ? *noise : Clips()) {}

uint64_t Cropper::Key(const Crop& crop) const {
  return CropKey(law_.seed, clips_.hashes[crop.clip], crop.crop_id);
}

int64_t Cropper::Start(int64_t clip, int64_t crop_id, std::vector<int64_t>* scratch) const {
  const uint64_t key = Key({clip, crop_id, 0});
  const int64_t moved = DrawInteger(key, kForShift, -law_.shift, law_.shift);
  const double speed = Speed(key);
  const int64_t num_samples = clips_.num_samples[clip];
  const int64_t played = PlayedLength(num_samples, speed);
  if (played <= law_.length) return moved + ShortClipStart(law_, played, key);
  // The window is looked for in the clip itself, with the length it has there.
  const int64_t length =
      std::max<int64_t>(1, std::llround(static_cast<double>(law_.length) * speed));
  const int64_t start = LongClipStart(clip, std::min(length, num_samples), key, scratch);
  const int64_t first = std::llround(static_cast<double>(start) / speed);
  return moved + std::min(first, played - law_.length);
}

void Cropper::Cut(const Crop& crop, float* out) const {
  const uint64_t key = Key(crop);
  const double speed = Speed(key);
  const int64_t num_samples = clips_.num_samples[crop.clip];
  const Overlap part = FindOverlap(PlayedLength(num_samples, speed), crop.start, law_.length);
  const int64_t n = part.last - part.first;
  std::fill(out, out + part.first, 0.0f);
  if (n > 0) {
    const int16_t* clip = clips_.samples + clips_.offsets[crop.clip];
    const int64_t first = crop.start + part.first;
    if (law_.speed > 0.0) {
      kernel_.play(clip, num_samples, speed, first, n, out + part.first);
    } else {
      Convert(clip + first, n, out + part.first);
    }
    if (law_.gain_db > 0.0) Scale(Gain(key), n, out + part.first);
  }
  std::fill(out + part.last, out + law_.length, 0.0f);
  if (HasNoise(key)) AddNoise(crop, key, out);
}

void Cropper::Cut(const Crop& crop, int16_t* out, std::vector<float>* scratch) const {
  if (law_.gain_db > 0.0 || law_.speed > 0.0 || HasNoise(Key(crop))) {
    scratch->resize(law_.length);
    Cut(crop, scratch->data());
    return Round(scratch->data(), law_.length, out);
  }
  const Overlap part = FindOverlap(clips_.num_samples[crop.clip], crop.start, law_.length);
  std::fill(out, out + part.first, int16_t{0});
  if (part.last > part.first) {
    const int16_t* clip = clips_.samples + clips_.offsets[crop.clip];
    std::memcpy(out + part.first, clip + crop.start + part.first,
                (part.last - part.first) * sizeof(int16_t));
  }
  std::fill(out + part.last, out + law_.length, int16_t{0});
}

// Start of a crop of a clip that is longer, at its own speed.
int64_t Cropper::LongClipStart(int64_t clip, int64_t length, uint64_t key,
                               std::vector<int64_t>* scratch) const {
  const int64_t num_samples = clips_.num_samples[clip];
  if (law_.mode == CropMode::kRandom) return DrawInteger(key, kForStart, 0, num_samples - length);
  if (law_.mode == CropMode::kCenter) return (num_samples - length) / 2;
  if (law_.mode == CropMode::kSliding) return 0;
  const WindowEnergies energies(kernel_, clips_.samples + clips_.offsets[clip], num_samples, length,
                                law_.hop, scratch);
  return law_.hop * (law_.mode == CropMode::kBestEnergy
                         ? energies.Best().index
                         : EnergyWindow(energies, law_.min_energy, key));
}

double Cropper::Speed(uint64_t key) const {
  if (law_.speed == 0.0) return 1.0;
  return 1.0 + law_.speed * (2.0 * DrawUniform(key, kForSpeed) - 1.0);
}

float Cropper::Gain(uint64_t key) const {
  const double decibel = law_.gain_db * (2.0 * DrawUniform(key, kForGain) - 1.0);
  return static_cast<float>(std::pow(10.0, decibel / 20.0));
}

bool Cropper::HasNoise(uint64_t key) const {
  return noise_.size > 0 && DrawUniform(key, kForNoise) < law_.noise_prob;
}

// Noise is laid along the clip, not along the crop: two crops of one clip with the same crop id
// hear the same noise where they overlap, so a crop inside another is a part of it. It is a
// stretch as long as the clip where the noise is longer; beyond its end noise begins anew.
void Cropper::AddNoise(const Crop& crop, uint64_t key, float* out) const {
  const int64_t chosen = DrawInteger(key, kForNoiseClip, 0, noise_.size - 1);
  const int16_t* noise = noise_.samples + noise_.offsets[chosen];
  const int64_t period = noise_.num_samples[chosen];
  const int64_t spare = period - clips_.num_samples[crop.clip];
  const int64_t phase = DrawInteger(key, kForNoisePhase, 0, spare > 0 ? spare : period - 1);
  const float scale = static_cast<float>(law_.noise_volume * DrawUniform(key, kForNoiseScale));
  int64_t at = (phase + crop.start % period) % period;
  if (at < 0) at += period;
  for (int64_t done = 0; done < law_.length;) {
    const int64_t n = std::min(law_.length - done, period - at);
    AddScaled(noise + at, scale, n, out + done);
    done += n;
    at = 0;
  }
}

}  // namespace kdspeech
