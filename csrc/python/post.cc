// Pitch and what is done to features after they are computed. The Python faces
// check the input.
#include <vector>

#include "feat/cmvn.h"
#include "feat/delta.h"
#include "feat/parallel.h"
#include "feat/pitch.h"
#include "feat/pitch_process.h"
#include "feat/splice.h"
#include "feat/vad.h"
#include "python/pybind.h"
#include "transform/affine.h"

namespace kdspeech {

namespace py = pybind11;

namespace {

using FloatArray = py::array_t<float, py::array::c_style>;
using DoubleArray = py::array_t<double, py::array::c_style>;

FloatArray MatrixLike(py::ssize_t rows, py::ssize_t columns) { return FloatArray({rows, columns}); }

// A features matrix as the core takes it.
struct Matrix {
  explicit Matrix(const FloatArray& array)
      : data(array.data()), rows(array.shape(0)), columns(static_cast<int>(array.shape(1))) {}
  const float* data;
  int64_t rows;
  int columns;
};

FloatArray PyAddDeltas(const FloatArray& features, int order, int window) {
  const Matrix in(features);
  FloatArray out = MatrixLike(in.rows, static_cast<py::ssize_t>(in.columns) * (order + 1));
  float* result = out.mutable_data();
  py::gil_scoped_release release;
  AddDeltas(in.data, in.rows, in.columns, order, window, result);
  return out;
}

FloatArray PySplice(const FloatArray& features, int left, int right) {
  const Matrix in(features);
  FloatArray out = MatrixLike(in.rows, static_cast<py::ssize_t>(in.columns) * (left + 1 + right));
  float* result = out.mutable_data();
  py::gil_scoped_release release;
  Splice(in.data, in.rows, in.columns, left, right, result);
  return out;
}

void PyAccumulateCmvn(const FloatArray& features, const FloatArray& weights, DoubleArray& stats) {
  const Matrix in(features);
  const float* weight = weights.size() > 0 ? weights.data() : nullptr;
  double* sums = stats.mutable_data();
  py::gil_scoped_release release;
  AccumulateCmvn(in.data, in.rows, in.columns, weight, sums);
}

FloatArray PyApplyCmvn(const FloatArray& features, const DoubleArray& stats, bool norm_vars,
                       bool reverse) {
  const Matrix in(features);
  FloatArray out = MatrixLike(in.rows, in.columns);
  const double* sums = stats.data();
  float* result = out.mutable_data();
  py::gil_scoped_release release;
  std::vector<float> scale(in.columns), offset(in.columns);
  CmvnScaleOffset(sums, in.columns, norm_vars, reverse, scale.data(), offset.data());
  ApplyScaleOffset(in.data, in.rows, in.columns, scale.data(), offset.data(), result);
  return out;
}

FloatArray PySlidingCmvn(const FloatArray& features, int window, int min_window, bool norm_vars,
                         bool center) {
  const Matrix in(features);
  FloatArray out = MatrixLike(in.rows, in.columns);
  float* result = out.mutable_data();
  py::gil_scoped_release release;
  SlidingCmvn(in.data, in.rows, in.columns, {window, min_window, norm_vars, center}, result);
  return out;
}

FloatArray PyEnergyVad(const FloatArray& features, float threshold, float mean_scale, int context,
                       float proportion) {
  const Matrix in(features);
  FloatArray out(in.rows);
  float* result = out.mutable_data();
  py::gil_scoped_release release;
  EnergyVad(in.data, in.rows, in.columns, {threshold, mean_scale, context, proportion}, result);
  return out;
}

FloatArray PyApplyAffine(const FloatArray& features, const FloatArray& matrix) {
  const Matrix in(features), transform(matrix);
  FloatArray out = MatrixLike(in.rows, static_cast<py::ssize_t>(transform.rows));
  float* result = out.mutable_data();
  py::gil_scoped_release release;
  ApplyAffine(in.data, in.rows, in.columns, transform.data, static_cast<int>(transform.rows),
              transform.columns == in.columns + 1, result);
  return out;
}

FloatArray PyProcessPitch(const FloatArray& features, const ProcessPitchOptions& options,
                          uint64_t seed) {
  const Matrix in(features);
  FloatArray out = MatrixLike(in.rows + options.delay, options.Dim());
  float* result = out.mutable_data();
  py::gil_scoped_release release;
  ProcessPitch(in.data, in.rows, options, seed, result);
  return out;
}

std::vector<FloatArray> PitchBatch(const PitchExtractor& extractor,
                                   const std::vector<FloatArray>& waves, int num_threads) {
  std::vector<FloatArray> outs;
  std::vector<const float*> samples;
  std::vector<float*> results;
  std::vector<int64_t> sizes;
  for (const FloatArray& wave : waves) {
    samples.push_back(wave.data());
    sizes.push_back(wave.size());
    outs.push_back(MatrixLike(extractor.NumFrames(wave.size()), 2));
    results.push_back(outs.back().mutable_data());
  }
  py::gil_scoped_release release;
  ParallelFor(static_cast<int64_t>(sizes.size()), num_threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) extractor.Compute(samples[i], sizes[i], results[i]);
  });
  return outs;
}

void BindPitch(py::module_& m) {
  using O = PitchOptions;
  py::class_<O>(m, "PitchOptions")
      .def(py::init<>())
      .def_readwrite("sample_frequency", &O::sample_frequency)
      .def_readwrite("frame_length", &O::frame_length)
      .def_readwrite("frame_shift", &O::frame_shift)
      .def_readwrite("preemphasis_coefficient", &O::preemphasis_coefficient)
      .def_readwrite("min_f0", &O::min_f0)
      .def_readwrite("max_f0", &O::max_f0)
      .def_readwrite("soft_min_f0", &O::soft_min_f0)
      .def_readwrite("penalty_factor", &O::penalty_factor)
      .def_readwrite("lowpass_cutoff", &O::lowpass_cutoff)
      .def_readwrite("resample_frequency", &O::resample_frequency)
      .def_readwrite("delta_pitch", &O::delta_pitch)
      .def_readwrite("nccf_ballast", &O::nccf_ballast)
      .def_readwrite("lowpass_filter_width", &O::lowpass_filter_width)
      .def_readwrite("upsample_filter_width", &O::upsample_filter_width)
      .def_readwrite("max_frames_latency", &O::max_frames_latency)
      .def_readwrite("frames_per_chunk", &O::frames_per_chunk)
      .def_readwrite("simulate_first_pass_online", &O::simulate_first_pass_online)
      .def_readwrite("recompute_frame", &O::recompute_frame)
      .def_readwrite("nccf_ballast_online", &O::nccf_ballast_online)
      .def_readwrite("snip_edges", &O::snip_edges);
  py::class_<PitchExtractor>(m, "PitchExtractor")
      .def(py::init<const PitchOptions&>())
      .def("num_frames", &PitchExtractor::NumFrames)
      .def("batch", &PitchBatch);
}

void BindProcessPitch(py::module_& m) {
  using O = ProcessPitchOptions;
  py::class_<O>(m, "ProcessPitchOptions")
      .def(py::init<>())
      .def_readwrite("pitch_scale", &O::pitch_scale)
      .def_readwrite("pov_scale", &O::pov_scale)
      .def_readwrite("pov_offset", &O::pov_offset)
      .def_readwrite("delta_pitch_scale", &O::delta_pitch_scale)
      .def_readwrite("delta_pitch_noise_stddev", &O::delta_pitch_noise_stddev)
      .def_readwrite("normalization_left_context", &O::normalization_left_context)
      .def_readwrite("normalization_right_context", &O::normalization_right_context)
      .def_readwrite("delta_window", &O::delta_window)
      .def_readwrite("delay", &O::delay)
      .def_readwrite("add_pov_feature", &O::add_pov_feature)
      .def_readwrite("add_normalized_log_pitch", &O::add_normalized_log_pitch)
      .def_readwrite("add_delta_pitch", &O::add_delta_pitch)
      .def_readwrite("add_raw_log_pitch", &O::add_raw_log_pitch);
  m.def("process_pitch", &PyProcessPitch);
}

}  // namespace

void PybindPost(py::module_& m) {
  BindPitch(m);
  BindProcessPitch(m);
  m.def("add_deltas", &PyAddDeltas);
  m.def("splice", &PySplice);
  m.def("accumulate_cmvn", &PyAccumulateCmvn);
  m.def("apply_cmvn", &PyApplyCmvn);
  m.def("sliding_cmvn", &PySlidingCmvn);
  m.def("energy_vad", &PyEnergyVad);
  m.def("apply_affine", &PyApplyAffine);
}

}  // namespace kdspeech
