// Where frames lie in a wave (Kaldi's feature-window).
#pragma once

#include <cstdint>

#include "feat/options.h"

namespace kdspeech {

int WindowSize(const FrameOptions& frame);        // samples of a frame
int WindowShift(const FrameOptions& frame);       // samples from one frame to the next
int PaddedWindowSize(const FrameOptions& frame);  // samples of the Fourier transform

// Frames of a wave of `num_samples` samples. With snip_edges only frames that lie wholly
// inside the wave count; without, one frame per shift, centred on the middle of each shift.
int64_t NumFrames(const FrameOptions& frame, int64_t num_samples);

// Index of the first sample of a frame; negative before the wave (only without snip_edges).
int64_t FirstSampleOfFrame(const FrameOptions& frame, int64_t index);

// Mirrors an index outside [0, num_samples) back into it, the end samples repeated
// (-1 -> 0, num_samples -> num_samples - 1), as often as needed.
int64_t ReflectIndex(int64_t index, int64_t num_samples);

}  // namespace kdspeech
