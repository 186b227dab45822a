// Waveform packs and crops for Python.
#include "feat/crop.h"

#include <optional>

#include "feat/crop_features.h"
#include "feat/parallel.h"
#include "python/pybind.h"

namespace py = pybind11;

namespace kdspeech {

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

// A waveform pack's arrays; keeps them alive and checks them once, when it is opened.
class PyClips {
 public:
  PyClips(Array<int16_t> samples, Array<int64_t> offsets, Array<int64_t> num_samples,
          const std::vector<std::string>& utterances)
      : samples_(samples), offsets_(offsets), num_samples_(num_samples) {
    Check();
    if (utterances.size() != static_cast<size_t>(num_samples_.size())) {
      throw py::value_error("clips: as many utterance names as clips expected");
    }
    for (const std::string& utterance : utterances) hashes_.push_back(HashUtterance(utterance));
  }

  Clips Get() const {
    return {samples_.data(), offsets_.data(), num_samples_.data(), hashes_.data(),
            num_samples_.size()};
  }

 private:
  void Check() const {
    if (samples_.ndim() != 1 || offsets_.ndim() != 1 || num_samples_.ndim() != 1 ||
        offsets_.size() != num_samples_.size()) {
      throw py::value_error("clips: vectors expected, as many offsets as numbers of samples");
    }
    const int64_t total = samples_.size();
    for (py::ssize_t i = 0; i < num_samples_.size(); ++i) {
      const int64_t offset = offsets_.at(i), n = num_samples_.at(i);
      if (offset < 0 || n < 1 || n > total || offset > total - n) {
        throw py::value_error("clips: clip " + std::to_string(i) + " lies outside the samples");
      }
    }
  }

  Array<int16_t> samples_;
  Array<int64_t> offsets_;
  Array<int64_t> num_samples_;
  std::vector<uint64_t> hashes_;
};

CropMode ParseMode(const std::string& mode) {
  if (mode == "random") return CropMode::kRandom;
  if (mode == "center") return CropMode::kCenter;
  if (mode == "best_energy") return CropMode::kBestEnergy;
  if (mode == "energy") return CropMode::kEnergy;
  if (mode == "sliding") return CropMode::kSliding;
  throw py::value_error("no crop mode \"" + mode + "\"");
}

CropLaw MakeLaw(int64_t length, const std::string& mode, uint64_t seed, int64_t shift,
                double noise_prob, double noise_volume, double gain_db, double speed,
                double min_energy, int64_t hop, bool pad_end) {
  if (length < 1 || hop < 1 || shift < 0) throw py::value_error("crop law out of range");
  return {length,  ParseMode(mode), seed,       shift, noise_prob, noise_volume,
          gain_db, speed,           min_energy, hop,   pad_end};
}

using Starts = std::optional<Array<int64_t>>;  // none: where the law says

// The crops of one batch, from vectors of equal length.
std::vector<Crop> MakeBatch(const Clips& clips, const Array<int64_t>& indices,
                            const Array<int64_t>& crop_ids, const Starts& starts) {
  const py::ssize_t size = indices.size();
  if (crop_ids.size() != size || (starts && starts->size() != size)) {
    throw py::value_error("crops: as many crop ids and starts as clips expected");
  }
  std::vector<Crop> batch(size);
  for (py::ssize_t i = 0; i < size; ++i) {
    batch[i] = {indices.data()[i], crop_ids.data()[i], starts ? starts->data()[i] : 0};
    if (batch[i].clip < 0 || batch[i].clip >= clips.size) {
      throw py::index_error("crops: no clip " + std::to_string(batch[i].clip));
    }
  }
  return batch;
}

void CheckOutput(const py::array& out, size_t rows, int64_t columns) {
  if (out.ndim() != 2 || out.shape(0) != static_cast<py::ssize_t>(rows) ||
      out.shape(1) != columns) {
    throw py::value_error("crops: out has the wrong shape");
  }
}

Cropper MakeCropper(const CropLaw& law, const PyClips& clips, const PyClips* noise) {
  if (!noise) return Cropper(law, clips.Get(), nullptr);
  const Clips noise_clips = noise->Get();
  return Cropper(law, clips.Get(), &noise_clips);
}

Array<int64_t> CropStarts(const CropLaw& law, const PyClips& clips, const Array<int64_t>& indices,
                          const Array<int64_t>& crop_ids, int64_t num_threads) {
  const std::vector<Crop> batch = MakeBatch(clips.Get(), indices, crop_ids, std::nullopt);
  const Cropper cropper = MakeCropper(law, clips, nullptr);
  Array<int64_t> starts(static_cast<py::ssize_t>(batch.size()));
  int64_t* out = starts.mutable_data();
  py::gil_scoped_release release;
  ParallelFor(batch.size(), num_threads, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> scratch;
    for (int64_t i = begin; i < end; ++i) {
      out[i] = cropper.Start(batch[i].clip, batch[i].crop_id, &scratch);
    }
  });
  return starts;
}

void Cut(const Cropper& cropper, const Crop& crop, float* out, std::vector<float>*) {
  cropper.Cut(crop, out);
}

void Cut(const Cropper& cropper, const Crop& crop, int16_t* out, std::vector<float>* scratch) {
  cropper.Cut(crop, out, scratch);
}

template <class T>
void CutBatch(const CropLaw& law, const PyClips& clips, const Array<int64_t>& indices,
              const Array<int64_t>& crop_ids, const Starts& starts, const PyClips* noise,
              Array<T> out, int64_t num_threads) {
  const std::vector<Crop> batch = MakeBatch(clips.Get(), indices, crop_ids, starts);
  CheckOutput(out, batch.size(), law.length);
  const Cropper cropper = MakeCropper(law, clips, noise);
  T* rows = out.mutable_data();
  py::gil_scoped_release release;
  ParallelFor(batch.size(), num_threads, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> energies;
    std::vector<float> samples;
    for (int64_t i = begin; i < end; ++i) {
      Crop crop = batch[i];
      if (!starts) crop.start = cropper.Start(crop.clip, crop.crop_id, &energies);
      Cut(cropper, crop, rows + i * law.length, &samples);
    }
  });
}

Array<float> CropFeatures(const FeatureComputer& computer, const CropLaw& law, const PyClips& clips,
                          const Array<int64_t>& indices, const Array<int64_t>& crop_ids,
                          const Array<int64_t>& starts, const PyClips* noise, int64_t shown_length,
                          float vtln_warp, int num_threads) {
  if (shown_length < law.length) throw py::value_error("crops: shown_length below the law's");
  const std::vector<Crop> batch = MakeBatch(clips.Get(), indices, crop_ids, starts);
  const Cropper cropper = MakeCropper(law, clips, noise);
  const int64_t rows = static_cast<int64_t>(batch.size());
  Array<float> out({rows, computer.NumFrames(shown_length), int64_t{computer.Dim()}});
  float* data = out.mutable_data();
  py::gil_scoped_release release;
  ComputeCropFeatures(computer, cropper, batch, shown_length, vtln_warp, num_threads, data);
  return out;
}

}  // namespace

void PybindCrop(py::module_& m) {
  py::class_<PyClips>(m, "Clips")
      .def(py::init<Array<int16_t>, Array<int64_t>, Array<int64_t>,
                    const std::vector<std::string>&>(),
           py::arg("samples").noconvert(), py::arg("offsets"), py::arg("num_samples"),
           py::arg("utterances"));
  py::class_<CropLaw>(m, "CropLaw")
      .def(py::init(&MakeLaw), py::kw_only(), py::arg("length"), py::arg("mode"), py::arg("seed"),
           py::arg("shift"), py::arg("noise_prob"), py::arg("noise_volume"), py::arg("gain_db"),
           py::arg("speed"), py::arg("min_energy"), py::arg("hop"), py::arg("pad_end"));
  m.def("crop_starts", &CropStarts, py::arg("law"), py::arg("clips"), py::arg("indices"),
        py::arg("crop_ids"), py::arg("num_threads"));
  m.def("cut_crops", &CutBatch<float>, py::arg("law"), py::arg("clips"), py::arg("indices"),
        py::arg("crop_ids"), py::arg("starts"), py::arg("noise"), py::arg("out").noconvert(),
        py::arg("num_threads"));
  m.def("cut_crops", &CutBatch<int16_t>, py::arg("law"), py::arg("clips"), py::arg("indices"),
        py::arg("crop_ids"), py::arg("starts"), py::arg("noise"), py::arg("out").noconvert(),
        py::arg("num_threads"));
  m.def("crop_features", &CropFeatures, py::arg("computer"), py::arg("law"), py::arg("clips"),
        py::arg("indices"), py::arg("crop_ids"), py::arg("starts"), py::arg("noise"),
        py::arg("shown_length"), py::arg("vtln_warp"), py::arg("num_threads"));
}

}  // namespace kdspeech
