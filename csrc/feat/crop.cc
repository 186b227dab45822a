#include "feat/crop.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

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

int32_t Square(int16_t x) { return static_cast<int32_t>(x) * static_cast<int32_t>(x); }

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

// Samples [first, first + n) of a clip played at `speed`, between its samples by linear
// interpolation.
void Play(const int16_t* __restrict clip, int64_t num_samples, double speed, int64_t first,
          int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) {
    const double at = static_cast<double>(first + i) * speed;
    const int64_t left = std::min(static_cast<int64_t>(at), num_samples - 1);
    const int64_t right = std::min(left + 1, num_samples - 1);
    const float part = static_cast<float>(at - static_cast<double>(left));
    const float sample = static_cast<float>(clip[left]);
    out[i] = sample + part * (static_cast<float>(clip[right]) - sample);
  }
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

// changes[k] = energy of entering[k * hop .. (k + 1) * hop) less that of the leaving samples.
void EnergyChanges(const int16_t* __restrict leaving, const int16_t* __restrict entering,
                   int64_t hop, int64_t moves, int64_t* __restrict changes) {
  if (hop == 1) {  // the loop that the compiler can vectorise
    for (int64_t k = 0; k < moves; ++k) changes[k] = Square(entering[k]) - Square(leaving[k]);
    return;
  }
  for (int64_t k = 0; k < moves; ++k) {
    changes[k] = 0;
    for (int64_t i = k * hop; i < (k + 1) * hop; ++i) {
      changes[k] += Square(entering[i]) - Square(leaving[i]);
    }
  }
}

// Four maxima side by side: one alone waits for itself at every step.
int64_t LargestEnergy(const std::vector<int64_t>& energies) {
  int64_t largest[4] = {0, 0, 0, 0};
  for (size_t k = 0; k < energies.size(); ++k) {
    largest[k % 4] = std::max(largest[k % 4], energies[k]);
  }
  return *std::max_element(largest, largest + 4);
}

// Start of the window with the largest energy, the first of equals.
int64_t BestEnergyStart(const std::vector<int64_t>& energies, int64_t hop) {
  const auto best = std::find(energies.begin(), energies.end(), LargestEnergy(energies));
  return hop * (best - energies.begin());
}

// A uniform pick among the windows with at least `min_energy` times the largest energy.
int64_t EnergyStart(const std::vector<int64_t>& energies, int64_t hop, double min_energy,
                    uint64_t key) {
  const int64_t best = LargestEnergy(energies);
  // Not above the best: beyond 2^53 the product could round up past it.
  const int64_t least =
      std::min(best, static_cast<int64_t>(std::ceil(min_energy * static_cast<double>(best))));
  const auto enough = [least](int64_t energy) { return energy >= least; };
  const int64_t count = std::count_if(energies.begin(), energies.end(), enough);
  int64_t picked = DrawInteger(key, kForStart, 0, count - 1);
  int64_t window = 0;
  while (!enough(energies[window]) || picked-- > 0) ++window;
  return window * hop;
}

// Start of a crop of a clip that is not longer than the crop.
int64_t ShortClipStart(const CropLaw& law, int64_t num_samples, uint64_t key) {
  if (law.pad_end) return 0;
  const int64_t missing = law.length - num_samples;
  const bool random = law.mode == CropMode::kRandom || law.mode == CropMode::kEnergy;
  return random ? DrawInteger(key, kForStart, -missing, 0) : -(missing / 2);
}

// Start of a crop of a clip that is longer, at its own speed.
int64_t LongClipStart(const CropLaw& law, const int16_t* clip, int64_t num_samples, uint64_t key,
                      std::vector<int64_t>* energies) {
  const int64_t spare = num_samples - law.length;
  switch (law.mode) {
    case CropMode::kRandom:
      return DrawInteger(key, kForStart, 0, spare);
    case CropMode::kCenter:
      return spare / 2;
    case CropMode::kBestEnergy:
      WindowEnergies(clip, num_samples, law.length, law.hop, energies);
      return BestEnergyStart(*energies, law.hop);
    case CropMode::kEnergy:
      WindowEnergies(clip, num_samples, law.length, law.hop, energies);
      return EnergyStart(*energies, law.hop, law.min_energy, key);
    case CropMode::kSliding:
      break;
  }
  return 0;
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

void WindowEnergies(const int16_t* clip, int64_t num_samples, int64_t length, int64_t hop,
                    std::vector<int64_t>* energies) {
  energies->resize((num_samples - length) / hop + 1);
  int64_t energy = 0;
  for (int64_t i = 0; i < length; ++i) energy += Square(clip[i]);
  (*energies)[0] = energy;
  // Each window by its change from the one before; the sum over them comes last.
  const int64_t moves = static_cast<int64_t>(energies->size()) - 1;
  EnergyChanges(clip, clip + length, hop, moves, energies->data() + 1);
  std::partial_sum(energies->begin(), energies->end(), energies->begin());
}

Cropper::Cropper(const CropLaw& law, const Clips& clips, const Clips* noise)
    : law_(law), clips_(clips), noise_(noise ? *noise : Clips()) {}

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
  CropLaw source = law_;
  source.length = std::max<int64_t>(1, std::llround(static_cast<double>(law_.length) * speed));
  source.length = std::min(source.length, num_samples);
  const int16_t* samples = clips_.samples + clips_.offsets[clip];
  const int64_t start = LongClipStart(source, samples, num_samples, key, scratch);
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
      Play(clip, num_samples, speed, first, n, out + part.first);
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
