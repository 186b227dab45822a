// Python face of the feature computation; kdspeech/features/extract.py checks the types.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "feat/error.h"
#include "feat/feature.h"
#include "feat/kernel.h"
#include "feat/resample.h"
#include "feat/samples.h"
#include "python/pybind.h"

namespace py = pybind11;

namespace kdspeech {
namespace {

using FloatArray = py::array_t<float, py::array::c_style>;
using Int64Array = py::array_t<int64_t, py::array::c_style>;

template <typename T>
void Read(const py::dict& from, const char* name, T* to) {
  if (from.contains(name)) *to = from[name].cast<T>();
}

void ReadFrameOptions(const py::dict& from, FrameOptions* frame) {
  Read(from, "sample_frequency", &frame->sample_frequency);
  Read(from, "frame_length", &frame->frame_length);
  Read(from, "frame_shift", &frame->frame_shift);
  Read(from, "dither", &frame->dither);
  Read(from, "preemphasis_coefficient", &frame->preemphasis_coefficient);
  Read(from, "remove_dc_offset", &frame->remove_dc_offset);
  Read(from, "window_type", &frame->window_type);
  Read(from, "blackman_coeff", &frame->blackman_coeff);
  Read(from, "round_to_power_of_two", &frame->round_to_power_of_two);
  Read(from, "snip_edges", &frame->snip_edges);
}

void ReadMelOptions(const py::dict& from, MelOptions* mel) {
  Read(from, "num_mel_bins", &mel->num_mel_bins);
  Read(from, "low_freq", &mel->low_freq);
  Read(from, "high_freq", &mel->high_freq);
  Read(from, "vtln_low", &mel->vtln_low);
  Read(from, "vtln_high", &mel->vtln_high);
}

FeatureKind KindOf(const std::string& name) {
  if (name == "mfcc") return FeatureKind::kMfcc;
  if (name == "fbank") return FeatureKind::kFbank;
  if (name == "plp") return FeatureKind::kPlp;
  throw InputError("feature kind " + name + ": must be mfcc, fbank or plp");
}

FeatureOptions ReadOptions(const std::string& kind, const py::dict& from) {
  FeatureOptions options;
  options.kind = KindOf(kind);
  ReadFrameOptions(from, &options.frame);
  ReadMelOptions(from, &options.mel);
  Read(from, "use_energy", &options.use_energy);
  Read(from, "energy_floor", &options.energy_floor);
  Read(from, "raw_energy", &options.raw_energy);
  Read(from, "htk_compat", &options.htk_compat);
  Read(from, "subtract_mean", &options.subtract_mean);
  Read(from, "num_ceps", &options.num_ceps);
  Read(from, "cepstral_lifter", &options.cepstral_lifter);
  Read(from, "use_log_fbank", &options.use_log_fbank);
  Read(from, "use_power", &options.use_power);
  Read(from, "lpc_order", &options.lpc_order);
  Read(from, "compress_factor", &options.compress_factor);
  Read(from, "cepstral_scale", &options.cepstral_scale);
  return options;
}

// The wave of a one-dimensional C-contiguous array of int16 or float32 (not copied).
Wave WaveOf(const py::array& samples) {
  if (samples.ndim() != 1) throw InputError("samples must be one-dimensional");
  if (py::isinstance<py::array_t<int16_t, py::array::c_style>>(samples)) {
    return Wave(static_cast<const int16_t*>(samples.data()), samples.size());
  }
  if (py::isinstance<FloatArray>(samples)) {
    return Wave(static_cast<const float*>(samples.data()), samples.size());
  }
  throw InputError("samples must be contiguous int16 or float32");
}

Wave Slice(const Wave& wave, int64_t begin, int64_t end) {
  return wave.int16 != nullptr ? Wave(wave.int16 + begin, end - begin)
                               : Wave(wave.float32 + begin, end - begin);
}

FloatArray Compute(const FeatureComputer& computer, const py::array& samples, uint64_t seed,
                   float vtln_warp) {
  const Wave wave = WaveOf(samples);
  FloatArray out({computer.NumFrames(wave.num_samples), int64_t{computer.Dim()}});
  float* data = out.mutable_data();
  {
    py::gil_scoped_release release;
    computer.Compute(wave, seed, vtln_warp, data);
  }
  return out;
}

// Features of all waves one after the other, and where each begins.
std::pair<FloatArray, Int64Array> ComputeAll(const FeatureComputer& computer,
                                             const std::vector<Wave>& waves,
                                             const std::vector<uint64_t>& seeds,
                                             const std::vector<float>& warps, int num_threads) {
  const size_t n = waves.size();
  if (seeds.size() != n || warps.size() != n) {
    throw InputError("a batch of " + std::to_string(n) + " utterances needs as many seeds (" +
                     std::to_string(seeds.size()) + " given) and VTLN warps (" +
                     std::to_string(warps.size()) + " given)");
  }
  Int64Array offsets(static_cast<py::ssize_t>(n + 1));
  int64_t* offset = offsets.mutable_data();
  offset[0] = 0;
  for (size_t i = 0; i < n; i++) {
    offset[i + 1] = offset[i] + computer.NumFrames(waves[i].num_samples);
  }
  FloatArray out({offset[n], int64_t{computer.Dim()}});
  std::vector<FeatureJob> jobs(n);
  for (size_t i = 0; i < n; i++) {
    jobs[i].wave = waves[i];
    jobs[i].seed = seeds[i];
    jobs[i].vtln_warp = warps[i];
    jobs[i].out = out.mutable_data() + offset[i] * computer.Dim();
  }
  {
    py::gil_scoped_release release;
    computer.ComputeBatch(jobs, num_threads);
  }
  return {out, offsets};
}

std::pair<FloatArray, Int64Array> ComputeList(const FeatureComputer& computer,
                                              const std::vector<py::array>& samples,
                                              const std::vector<uint64_t>& seeds,
                                              const std::vector<float>& warps, int num_threads) {
  std::vector<Wave> waves;
  for (const py::array& one : samples) waves.push_back(WaveOf(one));
  return ComputeAll(computer, waves, seeds, warps, num_threads);
}

std::pair<FloatArray, Int64Array> ComputePacked(const FeatureComputer& computer,
                                                const py::array& samples, const Int64Array& offsets,
                                                const std::vector<uint64_t>& seeds,
                                                const std::vector<float>& warps, int num_threads) {
  const Wave all = WaveOf(samples);
  if (offsets.ndim() != 1 || offsets.size() < 1) {
    throw InputError("offsets must be one-dimensional: the begin of each utterance and the end");
  }
  std::vector<Wave> waves;
  for (py::ssize_t i = 0; i + 1 < offsets.size(); i++) {
    const int64_t begin = offsets.at(i), end = offsets.at(i + 1);
    if (begin < 0 || end < begin || end > all.num_samples) {
      throw InputError("offsets[" + std::to_string(i) + "] = " + std::to_string(begin) +
                       ", offsets[" + std::to_string(i + 1) + "] = " + std::to_string(end) +
                       ": must rise from 0 to at most " + std::to_string(all.num_samples) +
                       ", the number of samples");
    }
    waves.push_back(Slice(all, begin, end));
  }
  return ComputeAll(computer, waves, seeds, warps, num_threads);
}

// Index of the first NaN or infinity (-1: none), and whether the wave seems to be in [-1, 1].
std::pair<int64_t, bool> CheckArray(const FloatArray& samples) {
  const float* data = samples.data();
  const int64_t n = samples.size();
  py::gil_scoped_release release;
  const SampleCheck check = CheckSamples(data, n);
  return {check.first_bad, check.normalized};
}

FloatArray ResampleArray(const FloatArray& samples, int from, int to) {
  std::vector<float> out;
  {
    const float* data = samples.data();
    const int64_t n = samples.size();
    py::gil_scoped_release release;
    out = Resample(data, n, from, to);
  }
  return FloatArray(static_cast<py::ssize_t>(out.size()), out.data());
}

std::vector<std::string> SimdVariants() {
  std::vector<std::string> names;
  for (const Kernel* const* k = AvailableKernels(); *k != nullptr; k++) names.push_back((*k)->name);
  return names;
}

void TranslateInputError(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const InputError& e) {
    py::set_error(py::module_::import("kdspeech.io.errors").attr("InputError"), e.what());
  }
}

}  // namespace

void PybindFeat(py::module_& m) {
  py::register_local_exception_translator(TranslateInputError);
  py::class_<FeatureComputer, std::shared_ptr<FeatureComputer>>(m, "FeatureComputer")
      .def(py::init([](const std::string& kind, const py::dict& options) {
             return std::make_shared<FeatureComputer>(ReadOptions(kind, options));
           }),
           py::arg("kind"), py::arg("options"))
      .def_property_readonly("dim", &FeatureComputer::Dim)
      .def_property_readonly("simd_variant", &FeatureComputer::simd_variant)
      .def("num_frames", &FeatureComputer::NumFrames, py::arg("num_samples"))
      .def("compute", &Compute, py::arg("samples"), py::arg("seed"), py::arg("vtln_warp"))
      .def("compute_list", &ComputeList, py::arg("samples"), py::arg("seeds"),
           py::arg("vtln_warps"), py::arg("num_threads"))
      .def("compute_packed", &ComputePacked, py::arg("samples"), py::arg("offsets"),
           py::arg("seeds"), py::arg("vtln_warps"), py::arg("num_threads"));
  m.def("check_samples", &CheckArray, py::arg("samples"));
  m.def("resample", &ResampleArray, py::arg("samples"), py::arg("from_rate"), py::arg("to_rate"));
  m.def("simd_variants", &SimdVariants);
}

}  // namespace kdspeech
