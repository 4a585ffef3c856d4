/* What is known of a rule's calls: one entry for each key, with its programs. */
#pragma once
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/python_cpp_function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/utils/object_ptr.h>
#include <pybind11/pybind11.h>

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "key.h"
#include "record.h"

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

namespace mb {

int calls_in_python = 2;       // before one is recorded
constexpr size_t MOST = 256;   // keys of one rule

PyObject *learn = nullptr, *derive = nullptr, *servable = nullptr, *parameter = nullptr;  // the functions of Python; nn.Parameter
int64_t large = 1 << 14;       // elements from which tensors are recomputed or shortened, in Python
bool enabled = true;

enum State { NEW, LEARNING, READY, GIVEN_UP };  // LEARNING: one thread records, the others stay in Python

struct Backward {
  Key key;
  std::atomic<int> seen = 0;
  std::atomic<State> state = NEW;  // READY is set behind the program, which does not change from there on
  Program program;
};

struct Saved {
  int argument, output;  // which one it is, -1 for none; neither: a value of its own
};

struct Entry {
  Key key;
  int seen = 0;
  State state = NEW;
  std::string problem;
  Program program;       // outputs, then what is saved
  int outputs = 0;
  int64_t largest = 0;   // elements of what it returns and saves
  bool tuple = false, materialize = false;  // whether the rule wants zeros for deltas that are not defined
  std::vector<bool> differentiable;
  std::vector<Saved> saved;
  std::unique_ptr<Entry> inner;  // of the node that the second output is kept as (engine/inner.py)
  std::vector<int> inner_arguments;
  PyObject *rule = nullptr, *attributes = nullptr, *needs = nullptr;
  unsigned version = 0;
  std::string name;
  std::vector<int> tensors;  // which arguments are tensors
  std::mutex lock;
  std::vector<std::unique_ptr<Backward>> backwards;
};

/* The version of a class, which Python counts on when an attribute is set: a formula may be another one then. */
unsigned version_of(PyObject* rule) { return ((PyTypeObject*)rule)->tp_version_tag; }

/* Whether torch is in a mode in which calls and backwards stay in Python. */
bool special() {
  return !enabled || at::impl::torch_function_mode_enabled() || c10::impl::TorchDispatchModeTLS::stack_len() ||
         c10::impl::tls_local_dispatch_key_set().included_.has(c10::DispatchKey::FuncTorchDynamicLayerFrontMode) ||
         at::autocast::is_autocast_enabled(at::kCPU) || at::autocast::is_autocast_enabled(at::kCUDA) ||
         c10::InferenceMode::is_enabled() || torch::autograd::ForwardADLevel::try_get_by_idx(0);
}

struct Rule {
  unsigned version = 0;
  int served = -1;  // whether its calls can be; not known at first
  std::unordered_multimap<size_t, std::unique_ptr<Entry>> entries;
};

std::unordered_map<PyObject*, Rule>& rules() {
  static auto* known = new std::unordered_map<PyObject*, Rule>();  // lives as long as the process
  return *known;
}

using torch::autograd::Node;
using NodePointer = decltype(std::declval<Node&>().getptr());  // shared in older versions of torch, intrusive in newer

template <class T, class Pointer = NodePointer> auto make_node() {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<Node>>) return std::shared_ptr<T>(new T(), [](T* node) { deleteNode(node); });
  else return c10::make_intrusive<T>();
}

PyObject* wrapped(const at::Tensor& tensor) {
  if (tensor.defined()) return THPVariable_Wrap(tensor);
  Py_RETURN_NONE;
}

PyObject* listed(const Tensors& tensors) {
  THPObjectPtr list(PyTuple_New(tensors.size()));
  if (!list) throw python_error();
  for (size_t k = 0; k < tensors.size(); k++) PyTuple_SET_ITEM(list.get(), k, wrapped(tensors[k]));
  return list.release();
}

at::Tensor unwrapped(PyObject* object) {
  return THPVariable_Check(object) ? THPVariable_Unpack(object) : at::Tensor();
}

}  // namespace mb
