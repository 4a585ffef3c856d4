/* A whole training step as one program: recorded once while Python runs it, then run without Python.

Some of its tensors are the same at each step (parameters, buffers), others are passed in (inputs, targets). Gradients
go where autograd puts them: they become a leaf's .grad, or are added to it.
*/
#pragma once
#include "entry.h"

namespace mb {

struct Step {
  Program program;
  Key key;
  Tensors fixed;
  std::vector<std::pair<int, int>> leaves;  // (index of a fixed tensor, index of the output that is its gradient)
  int returned = 0;                         // the first so many outputs are returned to Python
};

Tensors tensors_in(PyObject* tuple) {
  Tensors found;
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(tuple); k++) found.push_back(unwrapped(PyTuple_GET_ITEM(tuple, k)));
  return found;
}

Key key_of(const Tensors& tensors) {
  Key key;
  for (const auto& tensor : tensors) key.add(tensor);
  key.seal();
  return key;
}

void accumulate(const at::Tensor& leaf, at::Tensor gradient) {
  auto& grad = leaf.mutable_grad();
  if (grad.defined()) {
    grad.add_(gradient);
  } else if (gradient.use_count() == 1 && gradient.storage().use_count() == 1 && gradient.strides() == leaf.strides()) {
    grad = std::move(gradient);
  } else {  // its memory is shared, or its strides differ from the leaf's
    grad = at::empty_strided(leaf.sizes(), leaf.strides(), gradient.options()).copy_(gradient);
  }
}

Step* step_in(PyObject* capsule) { return (Step*)PyCapsule_GetPointer(capsule, "step"); }

/* (function, fixed tensors, given tensors, leaves, returned): runs the function, which returns a tuple of tensors.
Returns that tuple and the step, or in place of the step the reason why it could not be recorded. */
PyObject* record_step(PyObject*, PyObject* args) {
  HANDLE_TH_ERRORS
  PyObject *function, *fixed, *given, *leaves;
  auto step = std::make_unique<Step>();
  if (!PyArg_ParseTuple(args, "OO!O!O!i", &function, &PyTuple_Type, &fixed, &PyTuple_Type, &given, &PyTuple_Type,
                        &leaves, &step->returned))
    return nullptr;
  step->fixed = tensors_in(fixed);
  Tensors all = step->fixed;
  for (const auto& tensor : tensors_in(given)) all.push_back(tensor);
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(leaves); k++) {
    auto* pair = PyTuple_GET_ITEM(leaves, k);
    step->leaves.emplace_back(PyLong_AsLong(PyTuple_GET_ITEM(pair, 0)), PyLong_AsLong(PyTuple_GET_ITEM(pair, 1)));
  }
  step->key = key_of(all);
  Recorder recorder;
  recorder.begin(all);
  THPObjectPtr found(PyObject_CallNoArgs(function));
  if (!found) throw python_error();
  recorder.finish(tensors_in(found.get()));
  if (!recorder.problem.empty()) return Py_BuildValue("Os", found.get(), recorder.problem.c_str());
  step->program = std::move(recorder.program);
  auto* capsule = PyCapsule_New(step.release(), "step", [](PyObject* self) { delete step_in(self); });
  return Py_BuildValue("ON", found.get(), capsule);
  END_HANDLE_TH_ERRORS
}

/* (step, given tensors): runs the step, accumulates the gradients, and returns the first outputs. Returns None if the
key differs from the recorded one, or a kernel refused a value that it read. */
PyObject* run_step(PyObject*, PyObject* const* args, Py_ssize_t) {
  HANDLE_TH_ERRORS
  auto& step = *step_in(args[0]);
  Tensors all = step.fixed;
  for (const auto& tensor : tensors_in(args[1])) all.push_back(tensor);
  auto key = key_of(all);
  if (key.hash != step.key.hash || key.words != step.key.words) Py_RETURN_NONE;
  Tensors outputs;
  {
    pybind11::gil_scoped_release no_gil;
    at::AutoDispatchBelowAutograd guard;
    c10::AutoGradMode no_grad(false);
    if (!run(step.program, std::move(all), outputs)) outputs.clear();
    for (auto [leaf, output] : outputs.empty() ? std::vector<std::pair<int, int>>() : step.leaves)
      accumulate(step.fixed[leaf], std::move(outputs[output]));
  }
  if (outputs.empty()) Py_RETURN_NONE;
  outputs.resize(step.returned);
  return listed(outputs);
  END_HANDLE_TH_ERRORS
}

}  // namespace mb
