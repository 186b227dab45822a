#include "transform/update.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace kdspeech {

namespace {

// A pivot of a Cholesky decomposition below this part of its diagonal element is rounding: the
// statistics are sums of floats.
constexpr double kMinPivot = 1e-6;

using Square = std::vector<double>;  // (n, n)

// In four sums, which a compiler may keep in a vector.
double Dot(const double* a, const double* b, int n) {
  double sums[4] = {};
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int j = 0; j < 4; j++) sums[j] += a[i + j] * b[i + j];
  }
  for (; i < n; i++) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// The lower Cholesky factor of a packed lower triangle; false if the matrix is singular.
bool Cholesky(const double* packed, int n, Square* factor) {
  factor->assign(static_cast<size_t>(n) * n, 0.0);
  for (int i = 0; i < n; packed += ++i) {
    double* row = factor->data() + static_cast<size_t>(i) * n;
    for (int j = 0; j < i; j++) {
      const double* other = factor->data() + static_cast<size_t>(j) * n;
      row[j] = (packed[j] - Dot(row, other, j)) / other[j];
    }
    const double pivot = packed[i] - Dot(row, row, i);
    if (!(pivot > kMinPivot * packed[i])) return false;
    row[i] = std::sqrt(pivot);
  }
  return true;
}

// The inverse of a symmetric positive definite matrix, given as packed lower triangle: with L its
// Cholesky factor, the rows of `below` are the columns of L^-1, and the inverse is below below^T.
bool InvertSymmetric(const double* packed, int n, Square* inverse) {
  Square factor, below(static_cast<size_t>(n) * n);
  if (!Cholesky(packed, n, &factor)) return false;
  for (int c = 0; c < n; c++) {
    double* column = below.data() + static_cast<size_t>(c) * n;
    for (int i = c; i < n; i++) {
      const double* row = factor.data() + static_cast<size_t>(i) * n;
      column[i] = ((i == c) - Dot(row + c, column + c, i - c)) / row[i];
    }
  }
  inverse->resize(static_cast<size_t>(n) * n);
  for (int i = 0; i < n; i++) {
    for (int j = 0; j <= i; j++) {
      const size_t row_i = static_cast<size_t>(i) * n, row_j = static_cast<size_t>(j) * n;
      const double sum = Dot(&below[row_i + i], &below[row_j + i], n - i);
      (*inverse)[row_i + j] = (*inverse)[row_j + i] = sum;
    }
  }
  return true;
}

bool InvertAll(const double* packed, int count, int n, std::vector<Square>* inverses) {
  inverses->resize(count);
  for (Square& inverse : *inverses) {
    if (!InvertSymmetric(packed, n, &inverse)) return false;
    packed += static_cast<int64_t>(n) * (n + 1) / 2;
  }
  return true;
}

// The inverse of the square part of a transform, kept while its rows change.
class Inverse {
 public:
  explicit Inverse(int dim) : dim_(dim), inverse_(static_cast<size_t>(dim) * dim) {}

  double log_det() const { return log_det_; }

  // Gauss-Jordan elimination with row pivots; false if the matrix is singular.
  bool Compute(const double* matrix, int stride) {
    Square work(static_cast<size_t>(dim_) * 2 * dim_);
    for (int i = 0; i < dim_; i++) {
      std::copy_n(matrix + static_cast<int64_t>(i) * stride, dim_, Row(&work, i));
      Row(&work, i)[dim_ + i] = 1.0;
    }
    log_det_ = 0.0;
    for (int i = 0; i < dim_; i++) {
      if (!Eliminate(i, &work)) return false;
    }
    for (int i = 0; i < dim_; i++) {
      std::copy_n(Row(&work, i) + dim_, dim_, inverse_.data() + static_cast<size_t>(i) * dim_);
    }
    return true;
  }

  // Column i of the inverse: the cofactors of row i, but for a factor.
  void Column(int i, double* column) const {
    for (int j = 0; j < dim_; j++) column[j] = inverse_[static_cast<size_t>(j) * dim_ + i];
  }

  // Row i of the matrix has changed by `change` (Sherman and Morrison's formula).
  void ChangeRow(int i, const double* change) {
    std::vector<double> column(dim_), product(dim_);
    Column(i, column.data());
    for (int j = 0; j < dim_; j++) {
      for (int c = 0; c < dim_; c++) {
        product[c] += change[j] * inverse_[static_cast<size_t>(j) * dim_ + c];
      }
    }
    const double factor = 1.0 + product[i];
    for (int j = 0; j < dim_; j++) {
      const double scale = column[j] / factor;
      for (int c = 0; c < dim_; c++) {
        inverse_[static_cast<size_t>(j) * dim_ + c] -= scale * product[c];
      }
    }
  }

 private:
  double* Row(Square* work, int i) { return work->data() + static_cast<size_t>(i) * 2 * dim_; }

  bool Eliminate(int i, Square* work) {
    int best = i;
    for (int r = i + 1; r < dim_; r++) {
      if (std::fabs(Row(work, r)[i]) > std::fabs(Row(work, best)[i])) best = r;
    }
    std::swap_ranges(Row(work, i), Row(work, i) + 2 * dim_, Row(work, best));
    double* pivot = Row(work, i);
    if (!(std::fabs(pivot[i]) > 0.0) || !std::isfinite(pivot[i])) return false;
    log_det_ += std::log(std::fabs(pivot[i]));
    const double scale = 1.0 / pivot[i];
    for (int c = 0; c < 2 * dim_; c++) pivot[c] *= scale;
    for (int r = 0; r < dim_; r++) {
      const double factor = Row(work, r)[i];
      if (r == i || factor == 0.0) continue;
      for (int c = 0; c < 2 * dim_; c++) Row(work, r)[c] -= factor * pivot[c];
    }
    return true;
  }

  const int dim_;
  double log_det_ = 0.0;
  Square inverse_;
};

void Multiply(const Square& symmetric, const double* vector, int n, double* out) {
  for (int i = 0; i < n; i++) out[i] = Dot(&symmetric[static_cast<size_t>(i) * n], vector, n);
}

// The step a along the cofactors that maximizes beta log|a e1 + e2| - a^2 e1 / 2.
double BestStep(double e1, double e2, double beta) {
  const double root = std::sqrt(e2 * e2 + 4.0 * e1 * beta);
  const double steps[2] = {(-e2 + root) / (2.0 * e1), (-e2 - root) / (2.0 * e1)};
  const auto objective = [&](double a) {
    return beta * std::log(std::fabs(a * e1 + e2)) - 0.5 * a * a * e1;
  };
  return objective(steps[0]) > objective(steps[1]) ? steps[0] : steps[1];
}

// One sweep of fMLLR; solutions: G_i^-1 k_i, (dim, dim + 1).
bool SweepFmllr(const double* k, const std::vector<Square>& inverses, const double* solutions,
                double beta, int dim, double* transform) {
  const int n = dim + 1;
  Inverse inverse(dim);
  if (!inverse.Compute(transform, n)) return false;
  std::vector<double> cofactors(n), direction(n), change(n);
  for (int i = 0; i < dim; i++, k += n, solutions += n, transform += n) {
    inverse.Column(i, cofactors.data());
    Multiply(inverses[i], cofactors.data(), n, direction.data());
    const double e1 = Dot(cofactors.data(), direction.data(), n);
    const double step = BestStep(e1, Dot(direction.data(), k, n), beta);
    for (int d = 0; d < n; d++) {
      const double value = step * direction[d] + solutions[d];
      change[d] = value - transform[d];
      transform[d] = value;
    }
    inverse.ChangeRow(i, change.data());
  }
  return true;
}

// One sweep of MLLT; `inverse` is that of `transform`.
void SweepMllt(const std::vector<Square>& inverses, double beta, int dim, Inverse* inverse,
               double* transform) {
  std::vector<double> cofactors(dim), direction(dim), change(dim);
  for (int i = 0; i < dim; i++, transform += dim) {
    inverse->Column(i, cofactors.data());
    Multiply(inverses[i], cofactors.data(), dim, direction.data());
    const double scale = std::sqrt(beta / Dot(cofactors.data(), direction.data(), dim));
    for (int d = 0; d < dim; d++) {
      change[d] = scale * direction[d] - transform[d];
      transform[d] = scale * direction[d];
    }
    inverse->ChangeRow(i, change.data());
  }
}

// m G m for a packed lower triangle.
double QuadraticForm(const double* packed, const double* m, int n) {
  double sum = 0.0;
  for (int i = 0; i < n; packed += ++i) {
    sum += m[i] * (2.0 * Dot(packed, m, i) + packed[i] * m[i]);
  }
  return sum;
}

double MlltObjective(const double* g, double beta, double log_det, int dim, const double* m) {
  double sum = beta * log_det;
  for (int i = 0; i < dim; i++) {
    sum -= 0.5 * QuadraticForm(g, m + static_cast<int64_t>(i) * dim, dim);
    g += static_cast<int64_t>(dim) * (dim + 1) / 2;
  }
  return sum;
}

bool AllFinite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

}  // namespace

bool UpdateFmllr(const double* k, const double* g, double beta, int dim, int num_iters,
                 double* transform) {
  const int n = dim + 1;
  std::vector<Square> inverses;
  if (!InvertAll(g, dim, n, &inverses)) return false;
  std::vector<double> solutions(static_cast<size_t>(dim) * n);
  std::vector<double> result(transform, transform + solutions.size());
  for (int i = 0; i < dim; i++) {
    const size_t row = static_cast<size_t>(i) * n;
    Multiply(inverses[i], k + row, n, &solutions[row]);
  }
  for (int iter = 0; iter < num_iters; iter++) {
    if (!SweepFmllr(k, inverses, solutions.data(), beta, dim, result.data())) return false;
  }
  if (!AllFinite(result)) return false;
  std::copy(result.begin(), result.end(), transform);
  return true;
}

bool UpdateMllt(const double* g, double beta, int dim, int num_iters, double* transform,
                double* objective) {
  std::vector<Square> inverses;
  if (!InvertAll(g, dim, dim, &inverses)) return false;
  std::vector<double> result(transform, transform + static_cast<size_t>(dim) * dim);
  Inverse inverse(dim);
  for (int iter = 0; iter <= num_iters; iter++) {
    if (!inverse.Compute(result.data(), dim)) return false;
    objective[iter] = MlltObjective(g, beta, inverse.log_det(), dim, result.data());
    if (iter < num_iters) SweepMllt(inverses, beta, dim, &inverse, result.data());
  }
  if (!AllFinite(result)) return false;
  std::copy(result.begin(), result.end(), transform);
  return true;
}

}  // namespace kdspeech
