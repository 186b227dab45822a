// Voice activity from the log energy, as Kaldi's compute-vad.
#pragma once

#include <cstdint>

namespace kdspeech {

struct VadOptions {
  float vad_energy_threshold = 5.0f;      // constant part of the threshold on the log energy
  float vad_energy_mean_scale = 0.5f;     // part of the utterance's mean log energy added to it
  int vad_frames_context = 0;             // frames looked at on each side
  float vad_proportion_threshold = 0.6f;  // of these frames, how many must be above the threshold
};

// in: (frames, dim) with the log energy in column 0; out: one value a frame, 1
// voiced, 0 not.
void EnergyVad(const float* in, int64_t frames, int dim, const VadOptions& options, float* out);

}  // namespace kdspeech
