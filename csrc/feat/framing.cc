#include "feat/framing.h"

namespace kdspeech {

// The products are taken in double, as in Kaldi: 11025 Hz * 25 ms gives 275 samples.
int WindowSize(const FrameOptions& frame) {
  return static_cast<int>(frame.sample_frequency * 0.001 * frame.frame_length);
}

int WindowShift(const FrameOptions& frame) {
  return static_cast<int>(frame.sample_frequency * 0.001 * frame.frame_shift);
}

int PaddedWindowSize(const FrameOptions& frame) {
  const int size = WindowSize(frame);
  if (!frame.round_to_power_of_two) return size;
  int padded = 1;
  while (padded < size) padded *= 2;
  return padded;
}

int64_t NumFrames(const FrameOptions& frame, int64_t num_samples) {
  const int64_t shift = WindowShift(frame);
  if (!frame.snip_edges) return (num_samples + shift / 2) / shift;
  const int64_t size = WindowSize(frame);
  return num_samples < size ? 0 : 1 + (num_samples - size) / shift;
}

int64_t FirstSampleOfFrame(const FrameOptions& frame, int64_t index) {
  const int64_t shift = WindowShift(frame);
  if (frame.snip_edges) return index * shift;
  return index * shift + shift / 2 - WindowSize(frame) / 2;
}

int64_t ReflectIndex(int64_t index, int64_t num_samples) {
  const int64_t period = 2 * num_samples;
  int64_t phase = index % period;
  if (phase < 0) phase += period;
  return phase < num_samples ? phase : period - 1 - phase;
}

}  // namespace kdspeech
