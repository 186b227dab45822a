#include "transform/stats.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "feat/parallel.h"
#include "transform/kernel.h"

namespace kdspeech {

namespace {

// Frames whose products are summed in floats before they are added to doubles.
constexpr int kFloatFrames = 512;

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

// The sums over the Gaussians of a pdf that a frame brings into fMLLR and MLLT: rows of
// posterior * means_invvars, then posterior * inv_vars, each `width` floats.
class FrameTargets {
 public:
  explicit FrameTargets(const Gaussians& gmms)
      : gmms_(gmms), width_(Padded(gmms.dim)), stride_(2 * width_) {}

  Strided MeansInvvars() const { return {rows_.data(), 1, stride_}; }
  Strided InvVars() const { return {rows_.data() + width_, 1, stride_}; }

  void Compute(const PosteriorTile& tile) {
    parameters_.assign(static_cast<size_t>(tile.num_gaussians) * stride_, 0.0f);
    for (int i = 0; i < tile.num_gaussians; i++) {
      const int64_t start = static_cast<int64_t>(tile.first + i) * gmms_.dim;
      float* row = parameters_.data() + static_cast<size_t>(i) * stride_;
      std::copy_n(gmms_.means_invvars + start, gmms_.dim, row);
      std::copy_n(gmms_.inv_vars + start, gmms_.dim, row + width_);
    }
    rows_.assign(static_cast<size_t>(tile.size) * stride_, 0.0f);
    ActiveGmmKernel().add_product({tile.posteriors, 1, tile.stride}, parameters_.data(), stride_,
                                  tile.size, stride_, tile.num_gaussians, rows_.data(), stride_);
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

// Frames of a tile, as rows of `width` floats from `dim` on zero.
class TileFrames {
 public:
  TileFrames(const float* features, const AlignedFrames& alignment, int dim, int width)
      : features_(features), alignment_(alignment), dim_(dim), width_(width) {}

  int width() const { return width_; }
  float* Row(int j) { return rows_.data() + static_cast<size_t>(j) * width_; }

  const float* Gather(const int64_t* entries, int size) {
    rows_.assign(static_cast<size_t>(size) * width_, 0.0f);
    for (int j = 0; j < size; j++) {
      const int64_t frame = alignment_.frames[entries[j]];
      std::copy_n(features_ + frame * dim_, dim_, Row(j));
    }
    return rows_.data();
  }

 private:
  const float* const features_;
  const AlignedFrames& alignment_;
  const int dim_, width_;
  std::vector<float> rows_;
};

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
  const int width = Padded(dim);
  return SumOverParts(by_pdf, num_threads, [&](int first, int last) {
    TileFrames frames(summed, alignment, dim, width), squares(summed, alignment, dim, width);
    GaussianSum gaussians;
    double log_like = 0.0;
    ForEachTile(gmms, features, alignment, by_pdf, first, last, [&](const PosteriorTile& tile) {
      const float* x = frames.Gather(tile.entries, tile.size);
      gaussians.Add(tile, x, width, dim, sums.x);
      const float* x2 = squares.Gather(tile.entries, tile.size);
      for (float* v = squares.Row(0); v != squares.Row(tile.size); v++) *v *= *v;
      gaussians.Add(tile, x2, width, dim, sums.x2);
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
    FrameTargets targets(gmms);
    ProductSum k(dim, dim + 1);
    OuterSum g(dim, dim + 1);
    TileFrames frames(features, alignment, dim, k.stride());
    double log_like = 0.0;
    const auto add = [&](const PosteriorTile& tile) {
      targets.Compute(tile);
      const float* extended = frames.Gather(tile.entries, tile.size);
      for (int j = 0; j < tile.size; j++) frames.Row(j)[dim] = 1.0f;
      k.Add(targets.MeansInvvars(), extended, tile.size);
      g.Add(targets.InvVars(), extended, frames.width(), tile.size);
      log_like += tile.log_like;
    };
    ForEachTile(posterior_gmms, features, alignment, by_pdf, first, last, add);
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
    FrameTargets targets(gmms);
    OuterSum g(dim, dim);
    GaussianSum gaussians;
    TileFrames frames(features, alignment, dim, Padded(dim));
    double log_like = 0.0;
    const auto add = [&](const PosteriorTile& tile) {
      targets.Compute(tile);
      const float* y = frames.Gather(tile.entries, tile.size);
      const float* center = centers + static_cast<int64_t>(tile.pdf) * dim;
      for (int j = 0; j < tile.size; j++) {
        for (int d = 0; d < dim; d++) frames.Row(j)[d] -= center[d];
      }
      g.Add(targets.InvVars(), y, frames.width(), tile.size);
      gaussians.Add(tile, y, frames.width(), dim, sums.y);
      AddOccupancy(tile, sums.occupancy);
      log_like += tile.log_like;
    };
    ForEachTile(gmms, features, alignment, by_pdf, first, last, add);
    const std::lock_guard<std::mutex> lock(mutex);
    g.AddTo(sums.g);
    return log_like;
  });
}

void AccumulateLda(const float* features, int dim, const AlignedFrames& alignment,
                   int64_t num_frames, int num_classes, int num_threads, const LdaSums& sums) {
  constexpr int kTile = 64;
  const ByPdf by_class(alignment, num_frames, num_classes);
  std::mutex mutex;
  SumOverParts(by_class, num_threads, [&](int first, int last) {
    OuterSum xx(1, dim);
    TileFrames frames(features, alignment, dim, dim);
    int64_t entries[kTile];
    float weights[kTile];
    for (int c = first; c < last; c++) {
      double* x = sums.x + static_cast<int64_t>(c) * dim;
      for (int64_t begin = by_class.Begin(c); begin < by_class.Begin(c + 1); begin += kTile) {
        const int size = static_cast<int>(std::min<int64_t>(kTile, by_class.Begin(c + 1) - begin));
        for (int j = 0; j < size; j++) {
          entries[j] = by_class.Order(begin + j);
          weights[j] = alignment.weights[entries[j]];
        }
        xx.Add({weights, kTile, 1}, frames.Gather(entries, size), dim, size);
        for (int j = 0; j < size; j++) {
          sums.counts[c] += weights[j];
          for (int d = 0; d < dim; d++) x[d] += static_cast<double>(weights[j]) * frames.Row(j)[d];
        }
      }
    }
    const std::lock_guard<std::mutex> lock(mutex);
    xx.AddTo(sums.xx);
    return 0.0;
  });
}

}  // namespace kdspeech
