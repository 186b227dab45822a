// Python face of csrc/transform; kdspeech/features/gaussians.py, fmllr.py and mllt.py check the
// input.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "feat/error.h"
#include "python/pybind.h"
#include "transform/gaussians.h"
#include "transform/stats.h"
#include "transform/update.h"

namespace kdspeech {

namespace py = pybind11;

namespace {

using FloatArray = py::array_t<float, py::array::c_style>;
using DoubleArray = py::array_t<double, py::array::c_style>;
using IntArray = py::array_t<int32_t, py::array::c_style>;

void CheckShape(const py::array& array, const std::string& name,
                const std::vector<py::ssize_t>& shape) {
  if (std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim()) == shape) return;
  std::string wanted;
  for (const py::ssize_t n : shape) wanted += (wanted.empty() ? "" : ", ") + std::to_string(n);
  throw InputError(name + ": must have the shape (" + wanted + ")");
}

// Arrays of mixtures, kept alive and checked once.
class PyGaussians {
 public:
  PyGaussians(FloatArray gconsts, FloatArray means_invvars, FloatArray inv_vars, IntArray offsets)
      : gconsts_(std::move(gconsts)),
        means_invvars_(std::move(means_invvars)),
        inv_vars_(std::move(inv_vars)),
        offsets_(std::move(offsets)) {
    if (offsets_.ndim() != 1 || offsets_.size() < 2 || means_invvars_.ndim() != 2 ||
        means_invvars_.shape(1) < 1) {
      throw InputError(
          "Gaussians: offsets of (num_pdfs + 1) and means_invvars of (G, dim) expected");
    }
    const py::ssize_t count = means_invvars_.shape(0);
    CheckShape(gconsts_, "gconsts", {count});
    CheckShape(inv_vars_, "inv_vars", {count, means_invvars_.shape(1)});
    CheckOffsets(offsets_.data(), NumPdfs(), count);
  }

  int NumPdfs() const { return static_cast<int>(offsets_.size()) - 1; }

  Gaussians Get() const {
    return {gconsts_.data(),  means_invvars_.data(),
            inv_vars_.data(), offsets_.data(),
            NumPdfs(),        static_cast<int>(means_invvars_.shape(1))};
  }

 private:
  FloatArray gconsts_, means_invvars_, inv_vars_;
  IntArray offsets_;
};

// A features matrix and where its frames are aligned to.
struct Data {
  Data(const FloatArray& matrix, int columns, const IntArray& frames, const IntArray& pdfs,
       const FloatArray& weights)
      : features(matrix.data()), num_frames(matrix.ndim() > 0 ? matrix.shape(0) : 0) {
    CheckShape(matrix, "features", {num_frames, columns});
    CheckShape(frames, "alignment frames", {frames.size()});
    CheckShape(pdfs, "alignment pdfs", {frames.size()});
    CheckShape(weights, "alignment weights", {frames.size()});
    alignment = {frames.data(), pdfs.data(), weights.data(), frames.size()};
  }

  const float* features;
  int64_t num_frames;
  AlignedFrames alignment;
};

py::ssize_t Triangle(py::ssize_t n) { return n * (n + 1) / 2; }

FloatArray PyLogLikelihoods(const PyGaussians& py_gmms, const FloatArray& features,
                            const std::optional<IntArray>& pdfs, int num_threads) {
  const Gaussians gmms = py_gmms.Get();
  const Data data(features, gmms.dim, IntArray(0), IntArray(0), FloatArray(0));
  const int num_pdfs = pdfs.has_value() ? static_cast<int>(pdfs->size()) : gmms.num_pdfs;
  FloatArray result({static_cast<py::ssize_t>(data.num_frames), py::ssize_t{num_pdfs}});
  float* out = result.mutable_data();
  const int32_t* wanted = pdfs.has_value() ? pdfs->data() : nullptr;
  py::gil_scoped_release release;
  if (wanted == nullptr) {
    LogLikelihoods(gmms, data.features, data.num_frames, num_threads, out);
  } else {
    LogLikelihoods(gmms, wanted, num_pdfs, data.features, data.num_frames, num_threads, out);
  }
  return result;
}

double PyAccumulateMle(const PyGaussians& py_gmms, const FloatArray& features,
                       const IntArray& frames, const IntArray& pdfs, const FloatArray& weights,
                       const FloatArray& summed, int num_threads, DoubleArray& occupancy,
                       DoubleArray& x, DoubleArray& x2) {
  const Gaussians gmms = py_gmms.Get();
  const Data data(features, gmms.dim, frames, pdfs, weights);
  const py::ssize_t dim = summed.ndim() == 2 ? summed.shape(1) : 0;
  CheckShape(summed, "summed features", {data.num_frames, dim});
  CheckShape(occupancy, "occupancy", {gmms.NumGaussians()});
  CheckShape(x, "x", {gmms.NumGaussians(), dim});
  CheckShape(x2, "x2", {gmms.NumGaussians(), dim});
  const MleSums sums = {occupancy.mutable_data(), x.mutable_data(), x2.mutable_data()};
  const float* rows = summed.data();
  py::gil_scoped_release release;
  return AccumulateMle(gmms, data.features, data.alignment, data.num_frames, rows,
                       static_cast<int>(dim), num_threads, sums);
}

double PyAccumulateFmllr(const PyGaussians& py_posterior_gmms, const PyGaussians& py_gmms,
                         const FloatArray& features, const IntArray& frames, const IntArray& pdfs,
                         const FloatArray& weights, int num_threads, DoubleArray& k,
                         DoubleArray& g) {
  const Gaussians posterior_gmms = py_posterior_gmms.Get(), gmms = py_gmms.Get();
  const Data data(features, gmms.dim, frames, pdfs, weights);
  CheckShape(k, "k", {gmms.dim, gmms.dim + 1});
  CheckShape(g, "g", {gmms.dim, Triangle(gmms.dim + 1)});
  const FmllrSums sums = {k.mutable_data(), g.mutable_data()};
  py::gil_scoped_release release;
  return AccumulateFmllr(posterior_gmms, gmms, data.features, data.alignment, data.num_frames,
                         num_threads, sums);
}

double PyAccumulateMllt(const PyGaussians& py_gmms, const FloatArray& centers,
                        const FloatArray& features, const IntArray& frames, const IntArray& pdfs,
                        const FloatArray& weights, int num_threads, DoubleArray& occupancy,
                        DoubleArray& y, DoubleArray& g) {
  const Gaussians gmms = py_gmms.Get();
  const Data data(features, gmms.dim, frames, pdfs, weights);
  CheckShape(centers, "centers", {gmms.num_pdfs, gmms.dim});
  CheckShape(occupancy, "occupancy", {gmms.NumGaussians()});
  CheckShape(y, "y", {gmms.NumGaussians(), gmms.dim});
  CheckShape(g, "g", {gmms.dim, Triangle(gmms.dim)});
  const MlltSums sums = {occupancy.mutable_data(), y.mutable_data(), g.mutable_data()};
  const float* center = centers.data();
  py::gil_scoped_release release;
  return AccumulateMllt(gmms, center, data.features, data.alignment, data.num_frames, num_threads,
                        sums);
}

bool PyUpdateFmllr(const DoubleArray& k, const DoubleArray& g, double beta, int num_iters,
                   DoubleArray& transform) {
  const int dim = k.ndim() == 2 ? static_cast<int>(k.shape(0)) : 0;
  CheckShape(k, "k", {dim, dim + 1});
  CheckShape(g, "g", {dim, Triangle(dim + 1)});
  CheckShape(transform, "transform", {dim, dim + 1});
  const double *k_data = k.data(), *g_data = g.data();
  double* out = transform.mutable_data();
  py::gil_scoped_release release;
  return UpdateFmllr(k_data, g_data, beta, dim, num_iters, out);
}

// The objective before each sweep and at the end; empty where the statistics are singular.
std::vector<double> PyUpdateMllt(const DoubleArray& g, double beta, int num_iters,
                                 DoubleArray& transform) {
  const int dim = g.ndim() == 2 ? static_cast<int>(g.shape(0)) : 0;
  CheckShape(g, "g", {dim, Triangle(dim)});
  CheckShape(transform, "transform", {dim, dim});
  const double* g_data = g.data();
  double* out = transform.mutable_data();
  std::vector<double> objective(num_iters + 1);
  py::gil_scoped_release release;
  if (!UpdateMllt(g_data, beta, dim, num_iters, out, objective.data())) objective.clear();
  return objective;
}

}  // namespace

void PybindTransform(py::module_& parent) {
  py::module_ m = parent.def_submodule("transform", "Gaussian statistics and transforms");
  py::class_<PyGaussians>(m, "Gaussians")
      .def(py::init<FloatArray, FloatArray, FloatArray, IntArray>(), py::arg("gconsts"),
           py::arg("means_invvars"), py::arg("inv_vars"), py::arg("offsets"));
  m.def("log_likelihoods", &PyLogLikelihoods, py::arg("gmms"), py::arg("features"), py::arg("pdfs"),
        py::arg("num_threads"));
  m.def("accumulate_mle", &PyAccumulateMle);
  m.def("accumulate_fmllr", &PyAccumulateFmllr);
  m.def("accumulate_mllt", &PyAccumulateMllt);
  m.def("update_fmllr", &PyUpdateFmllr);
  m.def("update_mllt", &PyUpdateMllt);
}

}  // namespace kdspeech
