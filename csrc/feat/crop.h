// Crops of waveform clips: where a crop starts, and its samples with gain, padding and noise.
//
// Every random choice is a hash of (seed, utterance, crop id, purpose). A crop therefore does not
// depend on the batch it is in, on the order of the batch or on the number of threads.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "feat/kernel.h"

namespace kdspeech {

enum class CropMode { kRandom, kCenter, kBestEnergy, kEnergy, kSliding };

struct CropLaw {
  int64_t length = 0;  // samples of a crop
  CropMode mode = CropMode::kRandom;
  uint64_t seed = 0;
  int64_t shift = 0;          // the clip is moved by up to this many samples, either way
  double noise_prob = 0.8;    // how often noise is added, if there is a noise pack
  double noise_volume = 0.1;  // noise is scaled by U(0, noise_volume)
  double gain_db = 0.0;       // the clip is scaled by U(-gain_db, gain_db) decibel
  double speed = 0.0;         // the clip is played at a speed of U(1 - speed, 1 + speed)
  double min_energy = 0.8;    // kEnergy: least part of the best window's energy
  int64_t hop = 1;            // grid of starts of kBestEnergy, kEnergy and kSliding
  bool pad_end = false;       // a clip shorter than the crop begins at the crop's first sample
};

// The clips of a waveform pack; borrows all arrays.
struct Clips {
  const int16_t* samples = nullptr;
  const int64_t* offsets = nullptr;      // (size,) first sample of each clip
  const int64_t* num_samples = nullptr;  // (size,)
  const uint64_t* hashes = nullptr;      // (size,) HashUtterance of each clip's name
  int64_t size = 0;
};

// One crop to cut: clip, number that tells crops of one clip apart, first sample of the clip as it
// is played (may be outside).
struct Crop {
  int64_t clip;
  int64_t crop_id;
  int64_t start;
};

uint64_t HashUtterance(std::string_view utterance);

// The state from which all choices for one crop are drawn.
uint64_t CropKey(uint64_t seed, uint64_t utterance_hash, int64_t crop_id);

// Seed of the dither of one crop.
uint64_t DitherSeed(uint64_t key);

// Chooses where crops start and cuts them. Borrows the clips; const and safe to share by threads.
class Cropper {
 public:
  // `noise` is null or the clips to mix in.
  Cropper(const CropLaw& law, const Clips& clips, const Clips* noise);

  const CropLaw& Law() const { return law_; }
  uint64_t Key(const Crop& crop) const;

  // Start of a crop of `clip` under the law (of the first window in kSliding), in samples of the
  // clip as it is played; negative if the crop begins before the clip. `scratch` is for reuse over
  // calls.
  int64_t Start(int64_t clip, int64_t crop_id, std::vector<int64_t>* scratch) const;

  // Cuts law.length samples. float: int16 range, not clipped. int16: rounded and saturated.
  void Cut(const Crop& crop, float* out) const;
  void Cut(const Crop& crop, int16_t* out, std::vector<float>* scratch) const;

 private:
  int64_t LongClipStart(int64_t clip, int64_t length, uint64_t key,
                        std::vector<int64_t>* scratch) const;
  float Gain(uint64_t key) const;
  double Speed(uint64_t key) const;
  bool HasNoise(uint64_t key) const;
  void AddNoise(const Crop& crop, uint64_t key, float* out) const;

  const Kernel& kernel_;
  CropLaw law_;
  Clips clips_;
  Clips noise_;
};

}  // namespace kdspeech
