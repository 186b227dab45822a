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

// No kernel's tile is larger.
constexpr int kMaxTile = 64;

int RoundUp(int n, int to) { return (n + to - 1) / to * to; }

// Puts up to a tile of frames, given by row(j), into columns; returns how many columns were
// filled: whole SIMD vectors, the last ones with a frame again.
template <class Row>
int PutColumns(const GmmKernel& kernel, int dim, int count, const Row& row, float* columns) {
  const float* rows[kMaxTile];
  const int n = RoundUp(count, kernel.lanes);
  for (int j = 0; j < n; j++) rows[j] = row(std::min(j, count - 1));
  kernel.put_columns(rows, n, dim, columns, kernel.tile);
  return n;
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
  explicit TileScorer(const Gaussians& gmms)
      : gmms_(gmms),
        kernel_(ActiveGmmKernel()),
        columns_(2 * static_cast<size_t>(gmms.dim) * kernel_.tile),
        scores_(static_cast<size_t>(gmms.num_pdfs) * kernel_.tile) {}

  void Score(const float* features, int count, float* out) {
    const auto row = [&](int j) { return features + static_cast<int64_t>(j) * gmms_.dim; };
    const int n = PutColumns(kernel_, gmms_.dim, count, row, columns_.data());
    for (int p = 0; p < gmms_.num_pdfs;) p = ScoreGroup(p, n);
    for (int j = 0; j < count; j++, out += gmms_.num_pdfs) {
      for (int p = 0; p < gmms_.num_pdfs; p++) out[p] = Scores(p)[j];
    }
  }

 private:
  float* Scores(int pdf) { return scores_.data() + static_cast<int64_t>(pdf) * kernel_.tile; }

  // Scores as many pdfs from `pdf` on as make a group; returns the next one.
  int ScoreGroup(int pdf, int n) {
    const int32_t* const offsets = gmms_.offsets;
    const int begin = offsets[pdf];
    int end = pdf + 1;
    while (end < gmms_.num_pdfs && offsets[end + 1] - begin <= kGroup) end++;
    const int count = offsets[end] - begin, tile = kernel_.tile;
    rows_.resize(std::max(rows_.size(), static_cast<size_t>(count) * tile));
    ComponentLogLikelihoods(kernel_, gmms_, begin, count, columns_.data(), n, rows_.data());
    for (; pdf < end; pdf++) {
      const float* const first = rows_.data() + static_cast<int64_t>(offsets[pdf] - begin) * tile;
      kernel_.log_sum_exp(first, tile, offsets[pdf + 1] - offsets[pdf], n, Scores(pdf));
    }
    return end;
  }

  const Gaussians& gmms_;
  const GmmKernel& kernel_;
  std::vector<float> columns_, rows_, scores_;
};

// The mixtures of some pdfs, one after the other.
class Selection {
 public:
  Selection(const Gaussians& gmms, const int32_t* pdfs, int num_pdfs) : dim_(gmms.dim) {
    for (int i = 0; i < num_pdfs; i++) {
      if (pdfs[i] < 0 || pdfs[i] >= gmms.num_pdfs) {
        throw InputError("pdfs: no pdf " + std::to_string(pdfs[i]) + "; the model has " +
                         std::to_string(gmms.num_pdfs));
      }
      const int64_t begin = gmms.offsets[pdfs[i]], end = gmms.offsets[pdfs[i] + 1];
      offsets_.push_back(offsets_.back() + static_cast<int32_t>(end - begin));
      Append(gmms.gconsts, begin, end, &gconsts_);
      Append(gmms.means_invvars, begin * dim_, end * dim_, &means_invvars_);
      Append(gmms.inv_vars, begin * dim_, end * dim_, &inv_vars_);
    }
  }

  Gaussians Get() const {
    return {gconsts_.data(),
            means_invvars_.data(),
            inv_vars_.data(),
            offsets_.data(),
            static_cast<int>(offsets_.size()) - 1,
            dim_};
  }

 private:
  static void Append(const float* from, int64_t begin, int64_t end, std::vector<float>* to) {
    to->insert(to->end(), from + begin, from + end);
  }

  const int dim_;
  std::vector<int32_t> offsets_{0};
  std::vector<float> gconsts_, means_invvars_, inv_vars_;
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

void LogLikelihoods(const Gaussians& gmms, const float* features, int64_t frames, int num_threads,
                    float* out) {
  const int64_t tile = ActiveGmmKernel().tile;
  ParallelFor((frames + tile - 1) / tile, num_threads, [&](int64_t begin, int64_t end) {
    TileScorer scorer(gmms);
    for (int64_t i = begin; i < end; i++) {
      const int count = static_cast<int>(std::min(tile, frames - i * tile));
      scorer.Score(features + i * tile * gmms.dim, count, out + i * tile * gmms.num_pdfs);
    }
  });
}

void LogLikelihoods(const Gaussians& gmms, const int32_t* pdfs, int num_pdfs, const float* features,
                    int64_t frames, int num_threads, float* out) {
  const Selection selection(gmms, pdfs, num_pdfs);
  LogLikelihoods(selection.Get(), features, frames, num_threads, out);
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
      columns_(2 * static_cast<size_t>(gmms.dim) * kernel_.tile),
      totals_(kernel_.tile) {}

PosteriorTile PosteriorComputer::Compute(const AlignedFrames& alignment, int pdf,
                                         const int64_t* entries, int size) {
  const int first = gmms_.offsets[pdf], count = gmms_.offsets[pdf + 1] - first;
  const int tile = kernel_.tile;
  const auto frame = [&](int j) {
    return features_ + static_cast<int64_t>(alignment.frames[entries[j]]) * gmms_.dim;
  };
  const int n = PutColumns(kernel_, gmms_.dim, size, frame, columns_.data());
  shares_.resize(std::max(shares_.size(), static_cast<size_t>(count) * tile));
  ComponentLogLikelihoods(kernel_, gmms_, first, count, columns_.data(), n, shares_.data());
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
