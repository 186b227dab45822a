#include "transform/stats.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "feat/parallel.h"
#include "transform/kernel.h"

namespace kdspeech {

namespace {

// Frames whose products are summed in floats before they are added to doubles.
constexpr int kFloatFrames = 128;

// Frames, of as many pdfs as it takes, that enter a matrix product together.
constexpr int kBatch = 64;

int Padded(int n) {
  const int lanes = ActiveGmmKernel().lanes;
  return (n + lanes - 1) / lanes * lanes;
}

// A sum of products of floats, (rows, columns).
class ProductSum {
 public:
  ProductSum(int rows, int columns)
      : rows_(rows),
        columns_(columns),
        stride_(Padded(columns)),
        partial_(static_cast<size_t>(rows) * stride_),
        total_(static_cast<size_t>(rows) * columns) {}

  int stride() const { return stride_; }

  // Adds a b, where a is (rows, k) and b (k, stride).
  void Add(Strided a, const float* b, int k) {
    ActiveGmmKernel().add_product(a, b, stride_, rows_, stride_, k, partial_.data(), stride_);
    frames_ += k;
    if (frames_ >= kFloatFrames) Spill();
  }

  void AddTo(double* sum) {
    Spill();
    for (size_t i = 0; i < total_.size(); i++) sum[i] += total_[i];
  }

 private:
  void Spill() {
    for (int r = 0; r < rows_; r++) {
      const float* from = partial_.data() + static_cast<size_t>(r) * stride_;
      double* to = total_.data() + static_cast<size_t>(r) * columns_;
      for (int c = 0; c < columns_; c++) to[c] += from[c];
    }
    std::fill(partial_.begin(), partial_.end(), 0.0f);
    frames_ = 0;
  }

  const int rows_, columns_, stride_;
  int frames_ = 0;
  std::vector<float> partial_;
  std::vector<double> total_;
};

// sum over frames of w_i x x^T for each i < num_weights.
class OuterSum {
 public:
  OuterSum(int num_weights, int dim) : dim_(dim), sum_(num_weights, dim * (dim + 1) / 2) {}

  // weights: (num_weights, count); frames: (count, dim), rows `stride` apart.
  void Add(Strided weights, const float* frames, int stride, int count) {
    const size_t columns = sum_.stride();
    triangles_.resize(std::max(triangles_.size(), columns * count));
    for (int t = 0; t < count; t++) {
      const float* x = frames + static_cast<int64_t>(t) * stride;
      float* to = triangles_.data() + columns * t;
      for (int i = 0; i < dim_; to += ++i) {
        for (int j = 0; j <= i; j++) to[j] = x[i] * x[j];
      }
    }
    sum_.Add(weights, triangles_.data(), count);
  }

  void AddTo(double* sum) { sum_.AddTo(sum); }

 private:
  const int dim_;
  ProductSum sum_;
  std::vector<float> triangles_;
};

// Frames of a matrix, gathered into rows of `width` floats from `dim` on zero.
class FrameRows {
 public:
  FrameRows(const float* features, const AlignedFrames& alignment, int dim, int width)
      : features_(features), alignment_(alignment), dim_(dim), width_(width) {}

  int size() const { return size_; }
  int width() const { return width_; }
  const float* data() const { return rows_.data(); }

  void Clear() { size_ = 0; }

  // Appends the frames of some entries; returns the first row of them.
  float* Append(const int64_t* entries, int count) {
    rows_.resize(std::max(rows_.size(), static_cast<size_t>(size_ + count) * width_));
    float* const first = rows_.data() + static_cast<size_t>(size_) * width_;
    float* row = first;
    for (int j = 0; j < count; j++, row += width_) {
      const int64_t frame = alignment_.frames[entries[j]];
      std::fill(std::copy_n(features_ + frame * dim_, dim_, row), row + width_, 0.0f);
    }
    size_ += count;
    return first;
  }

 private:
  const float* const features_;
  const AlignedFrames& alignment_;
  const int dim_, width_;
  int size_ = 0;
  std::vector<float> rows_;
};

// The sums over the Gaussians of a pdf that frames bring into fMLLR and MLLT, as rows: posterior *
// means_invvars, then posterior * inv_vars, each `width` floats.
class TargetRows {
 public:
  explicit TargetRows(const Gaussians& gmms)
      : gmms_(gmms), width_(Padded(gmms.dim)), stride_(2 * width_) {}

  Strided MeansInvvars() const { return {rows_.data(), 1, stride_}; }
  Strided InvVars() const { return {rows_.data() + width_, 1, stride_}; }

  void Clear() { rows_.clear(); }

  void Append(const PosteriorTile& tile) {
    parameters_.assign(static_cast<size_t>(tile.num_gaussians) * stride_, 0.0f);
    for (int i = 0; i < tile.num_gaussians; i++) {
      const int64_t start = static_cast<int64_t>(tile.first + i) * gmms_.dim;
      float* row = parameters_.data() + static_cast<size_t>(i) * stride_;
      std::copy_n(gmms_.means_invvars + start, gmms_.dim, row);
      std::copy_n(gmms_.inv_vars + start, gmms_.dim, row + width_);
    }
    const size_t begin = rows_.size();
    rows_.resize(begin + static_cast<size_t>(tile.size) * stride_, 0.0f);
    ActiveGmmKernel().add_product({tile.posteriors, 1, tile.stride}, parameters_.data(), stride_,
                                  tile.size, stride_, tile.num_gaussians, &rows_[begin], stride_);
  }

 private:
  const Gaussians& gmms_;
  const int width_, stride_;
  std::vector<float> parameters_, rows_;
};

// Adds posterior-weighted rows (tile.size, columns), `stride` floats apart, to the rows of the
// tile's Gaussians, `columns` doubles apart.
class GaussianSum {
 public:
  void Add(const PosteriorTile& tile, const float* rows, int stride, int columns, double* sum) {
    product_.assign(static_cast<size_t>(tile.num_gaussians) * stride, 0.0f);
    ActiveGmmKernel().add_product({tile.posteriors, tile.stride, 1}, rows, stride,
                                  tile.num_gaussians, stride, tile.size, product_.data(), stride);
    for (int i = 0; i < tile.num_gaussians; i++) {
      const float* from = product_.data() + static_cast<size_t>(i) * stride;
      double* to = sum + static_cast<int64_t>(tile.first + i) * columns;
      for (int d = 0; d < columns; d++) to[d] += from[d];
    }
  }

 private:
  std::vector<float> product_;
};

void AddOccupancy(const PosteriorTile& tile, double* occupancy) {
  for (int i = 0; i < tile.num_gaussians; i++) {
    const float* row = tile.posteriors + static_cast<int64_t>(i) * tile.stride;
    for (int j = 0; j < tile.size; j++) occupancy[tile.first + i] += row[j];
  }
}

// Calls work(first_pdf, last_pdf) on a thread for each part of the pdfs, and adds the results.
template <class Work>
double SumOverParts(const ByPdf& by_pdf, int64_t num_threads, const Work& work) {
  const int64_t parts = std::max<int64_t>(1, num_threads);
  std::vector<double> results(parts);
  ParallelFor(parts, parts, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; part++) {
      results[part] = work(by_pdf.FirstPdf(part, parts), by_pdf.FirstPdf(part + 1, parts));
    }
  });
  double sum = 0.0;
  for (double result : results) sum += result;
  return sum;
}

}  // namespace

double AccumulateMle(const Gaussians& gmms, const float* features, const AlignedFrames& alignment,
                     int64_t num_frames, const float* summed, int dim, int num_threads,
                     const MleSums& sums) {
  const ByPdf by_pdf(alignment, num_frames, gmms.num_pdfs);
  return SumOverParts(by_pdf, num_threads, [&](int first, int last) {
    FrameRows frames(summed, alignment, dim, Padded(dim));
    GaussianSum gaussians;
    double log_like = 0.0;
    ForEachTile(gmms, features, alignment, by_pdf, first, last, [&](const PosteriorTile& tile) {
      frames.Clear();
      float* const rows = frames.Append(tile.entries, tile.size);
      gaussians.Add(tile, rows, frames.width(), dim, sums.x);
      for (float* v = rows; v != rows + tile.size * frames.width(); v++) *v *= *v;
      gaussians.Add(tile, rows, frames.width(), dim, sums.x2);
      AddOccupancy(tile, sums.occupancy);
      log_like += tile.log_like;
    });
    return log_like;
  });
}

double AccumulateFmllr(const Gaussians& posterior_gmms, const Gaussians& gmms,
                       const float* features, const AlignedFrames& alignment, int64_t num_frames,
                       int num_threads, const FmllrSums& sums) {
  const ByPdf by_pdf(alignment, num_frames, gmms.num_pdfs);
  const int dim = gmms.dim;
  std::mutex mutex;
  return SumOverParts(by_pdf, num_threads, [&](int first, int last) {
    ProductSum k(dim, dim + 1);
    OuterSum g(dim, dim + 1);
    TargetRows targets(gmms);
    FrameRows frames(features, alignment, dim, k.stride());
    double log_like = 0.0;
    const auto flush = [&] {
      k.Add(targets.MeansInvvars(), frames.data(), frames.size());
      g.Add(targets.InvVars(), frames.data(), frames.width(), frames.size());
      targets.Clear();
      frames.Clear();
    };
    const auto add = [&](const PosteriorTile& tile) {
      targets.Append(tile);
      float* const rows = frames.Append(tile.entries, tile.size);
      for (int j = 0; j < tile.size; j++) rows[j * frames.width() + dim] = 1.0f;
      log_like += tile.log_like;
      if (frames.size() >= kBatch) flush();
    };
    ForEachTile(posterior_gmms, features, alignment, by_pdf, first, last, add);
    flush();
    const std::lock_guard<std::mutex> lock(mutex);
    k.AddTo(sums.k);
    g.AddTo(sums.g);
    return log_like;
  });
}

double AccumulateMllt(const Gaussians& gmms, const float* centers, const float* features,
                      const AlignedFrames& alignment, int64_t num_frames, int num_threads,
                      const MlltSums& sums) {
  const ByPdf by_pdf(alignment, num_frames, gmms.num_pdfs);
  const int dim = gmms.dim;
  std::mutex mutex;
  return SumOverParts(by_pdf, num_threads, [&](int first, int last) {
    OuterSum g(dim, dim);
    GaussianSum gaussians;
    TargetRows targets(gmms);
    FrameRows frames(features, alignment, dim, Padded(dim));
    double log_like = 0.0;
    const auto flush = [&] {
      g.Add(targets.InvVars(), frames.data(), frames.width(), frames.size());
      targets.Clear();
      frames.Clear();
    };
    const auto add = [&](const PosteriorTile& tile) {
      targets.Append(tile);
      float* const rows = frames.Append(tile.entries, tile.size);
      const float* center = centers + static_cast<int64_t>(tile.pdf) * dim;
      for (int j = 0; j < tile.size; j++) {
        for (int d = 0; d < dim; d++) rows[j * frames.width() + d] -= center[d];
      }
      gaussians.Add(tile, rows, frames.width(), dim, sums.y);
      AddOccupancy(tile, sums.occupancy);
      log_like += tile.log_like;
      if (frames.size() >= kBatch) flush();
    };
    ForEachTile(gmms, features, alignment, by_pdf, first, last, add);
    flush();
    const std::lock_guard<std::mutex> lock(mutex);
    g.AddTo(sums.g);
    return log_like;
  });
}

}  // namespace kdspeech
