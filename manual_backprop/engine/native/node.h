/* The node behind a call that ran as a program: what it saved, and its backward. */
#pragma once
#include "entry.h"

namespace mb {

struct RuleNode : Node {
  Entry* entry = nullptr;
  std::vector<SavedVariable> saved;

  std::string name() const override { return entry->name; }

  void release_variables() override {
    for (auto& variable : saved) variable.reset_data();
  }

  Tensors unpacked() {
    Tensors tensors;
    tensors.reserve(saved.size());
    for (auto& variable : saved) tensors.push_back(variable.unpack(getptr()));
    return tensors;
  }

  variable_list apply(variable_list&& deltas) override {
    bool any = false;
    for (const auto& delta : deltas) any |= delta.defined();
    if (!any) return variable_list(num_outputs());
    for (size_t k = 0; entry->materialize && k < deltas.size(); k++)
      if (!deltas[k].defined()) deltas[k] = input_metadata(k).zeros_like();
    auto tensors = unpacked();
    if (at::GradMode::is_enabled() || special()) return in_python(deltas, tensors, nullptr);
    Key key;
    for (const auto& delta : deltas) key.add(delta);
    for (const auto& tensor : tensors) key.add(tensor);
    key.seal();
    Backward* known = nullptr;
    {
      std::lock_guard<std::mutex> guard(entry->lock);
      for (auto& backward : entry->backwards)
        if (backward->key.hash == key.hash && backward->key.words == key.words) known = backward.get();
      if (!known && entry->backwards.size() < MOST) {
        entry->backwards.push_back(std::make_unique<Backward>());
        known = entry->backwards.back().get();
        known->key = key;
      }
    }
    if (!known || known->state == GIVEN_UP || version_of(entry->rule) != entry->version || !plain(deltas) ||
        !plain(tensors))
      return in_python(deltas, tensors, nullptr);
    if (known->state == NEW) return in_python(deltas, tensors, ++known->seen > calls_in_python ? known : nullptr);
    Tensors inputs(deltas.begin(), deltas.end()), outputs;
    inputs.insert(inputs.end(), tensors.begin(), tensors.end());
    at::AutoDispatchBelowAutograd guard;
    c10::AutoGradMode no_grad(false);  // some operators ask, and choose another way
    if (!run(known->program, std::move(inputs), outputs)) return in_python(deltas, tensors, nullptr);
    return outputs;
  }

  static bool plain(const Tensors& tensors);

  variable_list in_python(const variable_list& deltas, const Tensors& tensors, Backward* learning) {
    pybind11::gil_scoped_acquire gil;
    Recorder recorder;
    if (learning) {
      Tensors inputs(deltas.begin(), deltas.end());
      inputs.insert(inputs.end(), tensors.begin(), tensors.end());
      recorder.begin(inputs);
    }
    Tensors all(entry->outputs);
    for (int k = 0, given = 0; k < entry->outputs; k++)
      if (entry->differentiable[k]) all[k] = deltas[given++];
    THPObjectPtr found(PyObject_CallFunction(
        derive, "OOONNN", entry->rule, entry->attributes, entry->needs, listed(tensors), listed(all),
        torch::autograd::functionToPyObject(getptr())));
    if (!found) throw python_error();
    variable_list gradients;
    for (int at : entry->tensors) {
      auto* part = PyTuple_Check(found.get()) ? PyTuple_GET_ITEM(found.get(), at) : found.get();
      gradients.push_back(unwrapped(part));
    }
    if (learning) {
      recorder.finish(gradients);
      std::lock_guard<std::mutex> guard(entry->lock);
      if (learning->state == NEW) {
        learning->program = std::move(recorder.program);
        learning->state = recorder.problem.empty() ? READY : GIVEN_UP;
        if (entry->problem.empty()) entry->problem = recorder.problem;
      }
    }
    return gradients;
  }
};

uint64_t plain_keys() {
  static const uint64_t keys = at::empty({0}, at::kFloat).key_set().raw_repr();
  return keys;
}

bool RuleNode::plain(const Tensors& tensors) {
  for (const auto& tensor : tensors)
    if (tensor.defined() && tensor.key_set().raw_repr() != plain_keys()) return false;
  return true;
}

PyTypeObject node_type = {};

/* Put a node behind the outputs that have a derivative. */
void attach(Entry* entry, const Tensors& arguments, Tensors& outputs) {
    auto node = make_node<RuleNode>();
    node->entry = entry;
    torch::autograd::edge_list edges;
    edges.reserve(arguments.size());
    for (const auto& argument : arguments)
      edges.push_back(argument.requires_grad() ? torch::autograd::impl::gradient_edge(argument) : torch::autograd::Edge());
    node->set_next_edges(std::move(edges));
    for (int k = 0; k < entry->outputs; k++)
      if (entry->differentiable[k]) torch::autograd::set_history(outputs[k], node);
    node->saved.reserve(entry->saved.size());
    at::Tensor own;
    if (entry->inner) {
      Tensors given, outputs_of_inner{outputs[1].detach()};
      for (int argument : entry->inner_arguments) given.push_back(arguments[argument]);
      attach(entry->inner.get(), given, outputs_of_inner);
      own = outputs_of_inner[0];
    }
    for (size_t k = 0; k < entry->saved.size(); k++) {
      auto [argument, output] = entry->saved[k];
      if (output == 1 && own.defined()) {
        node->saved.emplace_back(own, false);
        continue;
      }
      const auto& tensor = argument >= 0 ? arguments[argument] : output >= 0 ? outputs[output] : outputs[entry->outputs + k];
      node->saved.emplace_back(tensor, output >= 0 && entry->differentiable[output]);
    }
}

/* The outputs as Python has them. */
PyObject* attached(Entry* entry, const Tensors& arguments, Tensors& outputs, bool recorded) {
  if (recorded) attach(entry, arguments, outputs);
  if (!entry->tuple) return wrapped(outputs[0]);
  outputs.resize(entry->outputs);
  return listed(outputs);
}

}  // namespace mb
