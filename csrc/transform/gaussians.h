// Diagonal Gaussian mixtures of many pdfs: log-likelihoods and Gaussian posteriors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "transform/kernel.h"

namespace kdspeech {

// The mixtures as Kaldi's DiagGmm holds them, pdf after pdf: Gaussian g has the log-likelihood
// gconsts[g] + means_invvars[g] . x - inv_vars[g] . x^2 / 2, its weight included.
struct Gaussians {
  const float* gconsts;        // (G)
  const float* means_invvars;  // (G, dim)
  const float* inv_vars;       // (G, dim)
  const int32_t* offsets;      // (num_pdfs + 1): pdf p has the Gaussians offsets[p] .. offsets[p+1]
  int num_pdfs;
  int dim;

  int NumGaussians() const { return offsets[num_pdfs]; }
};

// Throws InputError unless offsets rise from 0, with a Gaussian at least for every pdf.
void CheckOffsets(const int32_t* offsets, int num_pdfs, int64_t num_gaussians);

// out (frames, num_pdfs): the log-likelihoods of all pdfs.
void LogLikelihoods(const Gaussians& gmms, const float* features, int64_t frames, int num_threads,
                    float* out);

// out (frames, num_pdfs): those of the pdfs pdfs[0 .. num_pdfs - 1]. Throws InputError for a pdf
// that is not there.
void LogLikelihoods(const Gaussians& gmms, const int32_t* pdfs, int num_pdfs, const float* features,
                    int64_t frames, int num_threads, float* out);

// Which pdf each frame is aligned to: entry i gives the frame frames[i] to pdfs[i] with a weight.
struct AlignedFrames {
  const int32_t* frames;
  const int32_t* pdfs;
  const float* weights;
  int64_t size;
};

// The entries of an alignment with a weight, grouped by pdf. Throws InputError for a frame or pdf
// that is not there.
class ByPdf {
 public:
  ByPdf(const AlignedFrames& alignment, int64_t num_frames, int num_pdfs);

  // Entries of pdf p: Order(Begin(p)) .. Order(Begin(p + 1) - 1).
  int64_t Begin(int pdf) const { return begin_[pdf]; }
  int64_t Order(int64_t i) const { return order_[i]; }

  // The first pdf of part `part` out of `parts`, which hold about as many entries each.
  int FirstPdf(int64_t part, int64_t parts) const;

 private:
  std::vector<int64_t> begin_;
  std::vector<int64_t> order_;
};

// Posteriors of the Gaussians of one pdf for up to `tile` of its frames.
struct PosteriorTile {
  int pdf;
  int first;  // the pdf's Gaussians: first .. first + num_gaussians - 1
  int num_gaussians;
  const int64_t* entries;  // indices into the alignment
  int size;                // entries in the tile
  int stride;
  const float* posteriors;  // (num_gaussians, stride), weights included; 0 from column `size` on
  double log_like;          // sum over the entries, weighted
};

// Computes posterior tiles; one per thread, for it holds scratch.
class PosteriorComputer {
 public:
  PosteriorComputer(const Gaussians& gmms, const float* features);

  int tile() const { return kernel_.tile; }

  PosteriorTile Compute(const AlignedFrames& alignment, int pdf, const int64_t* entries, int size);

 private:
  const Gaussians gmms_;
  const float* const features_;
  const GmmKernel& kernel_;
  std::vector<float> columns_, shares_, totals_;
};

// Calls use(tile) for all tiles of the pdfs first .. last - 1 of an alignment.
template <class Use>
void ForEachTile(const Gaussians& gmms, const float* features, const AlignedFrames& alignment,
                 const ByPdf& by_pdf, int first, int last, const Use& use) {
  PosteriorComputer computer(gmms, features);
  std::vector<int64_t> entries(computer.tile());
  for (int pdf = first; pdf < last; pdf++) {
    const int64_t end = by_pdf.Begin(pdf + 1);
    for (int64_t begin = by_pdf.Begin(pdf); begin < end; begin += computer.tile()) {
      const int size = static_cast<int>(std::min<int64_t>(computer.tile(), end - begin));
      for (int i = 0; i < size; i++) entries[i] = by_pdf.Order(begin + i);
      use(computer.Compute(alignment, pdf, entries.data(), size));
    }
  }
}

}  // namespace kdspeech
