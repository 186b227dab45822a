#include "transform/gaussians.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "feat/error.h"
#include "feat/parallel.h"

namespace kdspeech {

namespace {

// Gaussians whose log-likelihoods are held at a time.
constexpr int kGroup = 128;

int RoundUp(int n, int to) { return (n + to - 1) / to * to; }

// Frames in columns: row d holds x_d, row dim + d holds -x_d^2 / 2, with `stride` columns.
void PutColumn(const float* frame, int dim, int64_t stride, float* column) {
  for (int d = 0; d < dim; d++) {
    column[d * stride] = frame[d];
    column[(dim + d) * stride] = -0.5f * frame[d] * frame[d];
  }
}

// rows (count, tile): the log-likelihoods of `count` Gaussians, for n frames in columns.
void ComponentLogLikelihoods(const GmmKernel& kernel, const Gaussians& gmms, int first, int count,
                             const float* columns, int n, float* rows) {
  const int dim = gmms.dim, tile = kernel.tile;
  for (int i = 0; i < count; i++) std::fill_n(rows + i * tile, n, gmms.gconsts[first + i]);
  const int64_t start = static_cast<int64_t>(first) * dim;
  kernel.add_product({gmms.means_invvars + start, dim, 1}, columns, tile, count, n, dim, rows,
                     tile);
  kernel.add_product({gmms.inv_vars + start, dim, 1}, columns + dim * tile, tile, count, n, dim,
                     rows, tile);
}

// Log-likelihoods of a tile of frames at a time.
class TileScorer {
 public:
  TileScorer(const Gaussians& gmms, const int32_t* wanted, int num_wanted)
      : gmms_(gmms),
        kernel_(ActiveGmmKernel()),
        wanted_(wanted),
        num_wanted_(num_wanted),
        columns_(2 * static_cast<size_t>(gmms.dim) * kernel_.tile),
        scores_(static_cast<size_t>(num_wanted) * kernel_.tile) {}

  int tile() const { return kernel_.tile; }

  void Score(const float* features, int count, float* out) {
    const int tile = kernel_.tile;
    for (int j = 0; j < count; j++) {
      PutColumn(features + static_cast<int64_t>(j) * gmms_.dim, gmms_.dim, tile, &columns_[j]);
    }
    for (int i = 0; i < num_wanted_;) i = ScoreGroup(i, RoundUp(count, kernel_.lanes));
    for (int j = 0; j < count; j++, out += num_wanted_) {
      for (int i = 0; i < num_wanted_; i++) out[i] = scores_[i * static_cast<size_t>(tile) + j];
    }
  }

 private:
  int Pdf(int i) const { return wanted_ != nullptr ? wanted_[i] : i; }

  // Scores as many neighbouring pdfs from the i-th wanted one on as make a group; returns how
  // far it came.
  int ScoreGroup(int i, int n) {
    const int begin = gmms_.offsets[Pdf(i)];
    int end = i + 1;
    while (end < num_wanted_ && Pdf(end) == Pdf(end - 1) + 1 &&
           gmms_.offsets[Pdf(end) + 1] - begin <= kGroup) {
      end++;
    }
    const int count = gmms_.offsets[Pdf(end - 1) + 1] - begin, tile = kernel_.tile;
    rows_.resize(std::max(rows_.size(), static_cast<size_t>(count) * tile));
    ComponentLogLikelihoods(kernel_, gmms_, begin, count, columns_.data(), n, rows_.data());
    for (; i < end; i++) {
      const int first = gmms_.offsets[Pdf(i)], last = gmms_.offsets[Pdf(i) + 1];
      kernel_.log_sum_exp(rows_.data() + static_cast<int64_t>(first - begin) * tile, tile,
                          last - first, n, &scores_[i * static_cast<size_t>(tile)]);
    }
    return end;
  }

  const Gaussians& gmms_;
  const GmmKernel& kernel_;
  const int32_t* const wanted_;
  const int num_wanted_;
  std::vector<float> columns_, rows_, scores_;
};

void CheckEntry(const AlignedFrames& alignment, int64_t i, int64_t num_frames, int num_pdfs) {
  const int32_t frame = alignment.frames[i], pdf = alignment.pdfs[i];
  if (frame < 0 || frame >= num_frames) {
    throw InputError("alignment: frame " + std::to_string(frame) + " of " +
                     std::to_string(num_frames) + " frames");
  }
  if (pdf < 0 || pdf >= num_pdfs) {
    throw InputError("alignment: pdf " + std::to_string(pdf) + " in frame " +
                     std::to_string(frame) + "; the model has " + std::to_string(num_pdfs));
  }
}

}  // namespace

void CheckOffsets(const int32_t* offsets, int num_pdfs, int64_t num_gaussians) {
  bool good = num_pdfs > 0 && offsets[0] == 0 && offsets[num_pdfs] == num_gaussians;
  for (int p = 0; p < num_pdfs && good; p++) good = offsets[p] < offsets[p + 1];
  if (!good) {
    throw InputError("offsets: must rise from 0 to the number of Gaussians, " +
                     std::to_string(num_gaussians) + ", by one at least for each pdf");
  }
}

void LogLikelihoods(const Gaussians& gmms, const float* features, int64_t frames,
                    const int32_t* wanted, int num_wanted, int num_threads, float* out) {
  for (int i = 0; wanted != nullptr && i < num_wanted; i++) {
    if (wanted[i] < 0 || wanted[i] >= gmms.num_pdfs) {
      throw InputError("pdfs: no pdf " + std::to_string(wanted[i]) + "; the model has " +
                       std::to_string(gmms.num_pdfs));
    }
  }
  const int64_t tile = ActiveGmmKernel().tile;
  ParallelFor((frames + tile - 1) / tile, num_threads, [&](int64_t begin, int64_t end) {
    TileScorer scorer(gmms, wanted, num_wanted);
    for (int64_t i = begin; i < end; i++) {
      const int count = static_cast<int>(std::min(tile, frames - i * tile));
      scorer.Score(features + i * tile * gmms.dim, count, out + i * tile * num_wanted);
    }
  });
}

ByPdf::ByPdf(const AlignedFrames& alignment, int64_t num_frames, int num_pdfs)
    : begin_(num_pdfs + 2) {
  for (int64_t i = 0; i < alignment.size; i++) {
    CheckEntry(alignment, i, num_frames, num_pdfs);
    begin_[alignment.pdfs[i] + 2] += alignment.weights[i] != 0.0f;
  }
  for (int p = 2; p < num_pdfs + 2; p++) begin_[p] += begin_[p - 1];
  order_.resize(begin_.back());
  for (int64_t i = 0; i < alignment.size; i++) {
    if (alignment.weights[i] != 0.0f) order_[begin_[alignment.pdfs[i] + 1]++] = i;
  }
}

int ByPdf::FirstPdf(int64_t part, int64_t parts) const {
  if (part == parts) return static_cast<int>(begin_.size()) - 2;
  const int64_t entry = static_cast<int64_t>(order_.size()) * part / parts;
  return static_cast<int>(std::lower_bound(begin_.begin(), begin_.end() - 2, entry) -
                          begin_.begin());
}

PosteriorComputer::PosteriorComputer(const Gaussians& gmms, const float* features)
    : gmms_(gmms),
      features_(features),
      kernel_(ActiveGmmKernel()),
      frames_(2 * static_cast<size_t>(gmms.dim) * kernel_.tile),
      totals_(kernel_.tile) {}

PosteriorTile PosteriorComputer::Compute(const AlignedFrames& alignment, int pdf,
                                         const int64_t* entries, int size) {
  const int first = gmms_.offsets[pdf], count = gmms_.offsets[pdf + 1] - first;
  const int tile = kernel_.tile;
  for (int j = 0; j < size; j++) {
    const int64_t frame = alignment.frames[entries[j]];
    PutColumn(features_ + frame * gmms_.dim, gmms_.dim, tile, &frames_[j]);
  }
  const int n = RoundUp(size, kernel_.lanes);
  shares_.resize(std::max(shares_.size(), static_cast<size_t>(count) * tile));
  ComponentLogLikelihoods(kernel_, gmms_, first, count, frames_.data(), n, shares_.data());
  kernel_.softmax(shares_.data(), tile, count, n, totals_.data());
  double log_like = 0.0;
  for (int j = 0; j < size; j++) {
    if (!std::isfinite(totals_[j])) {
      throw InputError("alignment: the log-likelihood of frame " +
                       std::to_string(alignment.frames[entries[j]]) + " under pdf " +
                       std::to_string(pdf) + " is not finite; check the features and the model");
    }
    totals_[j] = alignment.weights[entries[j]] * totals_[j];
    log_like += totals_[j];
  }
  for (int i = 0; i < count; i++) {
    float* row = shares_.data() + static_cast<int64_t>(i) * tile;
    for (int j = 0; j < size; j++) row[j] *= alignment.weights[entries[j]];
    std::fill(row + size, row + n, 0.0f);
  }
  return {pdf, first, count, entries, size, tile, shares_.data(), log_like};
}

}  // namespace kdspeech
