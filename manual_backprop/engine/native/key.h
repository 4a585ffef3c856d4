/* What a program depends on: the tensors' dtypes, sizes and strides, which tensors are the same one, the other
arguments, and torch's settings. */
#pragma once
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/python_variable.h>

#include <cstring>
#include <vector>

namespace mb {

struct Key {
  std::vector<int64_t> words;
  std::vector<PyObject*> constants;  // borrowed references until `keep`
  size_t hash = 0;

  Key() {
    words.reserve(48);
    const auto& context = at::globalContext();
    words.push_back(at::get_num_threads() * 16 + context.deterministicAlgorithms() * 8 +
                    context.userEnabledMkldnn() * 4 + context.deterministicFillUninitializedMemory() * 2);
  }

  void add(int64_t word) { words.push_back(word); }

  void add(const at::Tensor& tensor) {
    if (!tensor.defined()) return add(-1);
    words.push_back(((int64_t)tensor.scalar_type() << 8) + tensor.dim());
    for (auto size : tensor.sizes()) words.push_back(size);
    for (auto stride : tensor.strides()) words.push_back(stride);
  }

  bool add(PyObject* constant) {  // false if it cannot be hashed
    if (PyFloat_CheckExact(constant)) {  // by its bits, because 0.0 == -0.0
      const double number = PyFloat_AS_DOUBLE(constant);
      int64_t bits;
      std::memcpy(&bits, &number, sizeof bits);
      words.push_back(bits);
      words.push_back((int64_t)Py_TYPE(constant));
      return true;
    }
    auto found = PyObject_Hash(constant);
    if (found == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      return false;
    }
    constants.push_back(constant);
    words.push_back(found);
    words.push_back((int64_t)Py_TYPE(constant));  // because 1 == 1.0 == True
    return true;
  }

  void seal() {
    hash = words.size();
    for (auto word : words) hash = hash * 0x9E3779B97F4A7C15ull + (size_t)word + (hash >> 29);
  }

  bool operator==(const Key& other) const {
    if (hash != other.hash || words != other.words) return false;
    for (size_t k = 0; k < constants.size(); k++)
      if (constants[k] != other.constants[k]) {
        int equal = PyObject_RichCompareBool(constants[k], other.constants[k], Py_EQ);
        if (equal < 0) PyErr_Clear();
        if (equal != 1) return false;
      }
    return true;
  }

  void keep() {
    for (auto* constant : constants) Py_INCREF(constant);
  }
};

}  // namespace mb
