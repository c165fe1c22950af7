// Experiments to begin with: a title, the address, and what there is to see.

export const EXAMPLES = [
  ["A line, and a circle", "data=circle&hidden_layer_sizes=",
    "Without hidden layers, the border is a line: run it. Then take x1^2 and x2^2 as the features instead of x1 and x2."],
  ["XOR needs a hidden layer", "data=xor&hidden_layer_sizes=4&activation=relu",
    "Four units separate the classes. Are two enough? Is none?"],
  ["Two spirals", "data=spiral&hidden_layer_sizes=8,8&solver=adam&learning_rate_init=0.01",
    "It takes some patience. Point at a unit to see what it computes. Then try sgd, or other seeds."],
  ["Overfitting", "data=xor&noise=0.5&share=0.1&hidden_layer_sizes=8,8,8&solver=adam&learning_rate_init=0.01",
    "The training loss falls, the test loss rises: go back in time to its lowest point. Then try an L2 penalty of 0.3, or dropout."],
  ["Too high a learning rate", "data=hills&hidden_layer_sizes=8,8&learning_rate_init=0.3",
    "With 0.03, it learns the hills. With 0.3, it is worse than a constant; with 1, it fails."],
  ["Back-propagation by hand", "data=xor&hidden_layer_sizes=3&show=by-hand",
    "One step in numbers. ▶ goes on: forward, the loss, backward, the step."],
  ["Letters", "data=letters&hidden_layer_sizes=16&solver=adam&alpha=0.3&batch_size=50&show=quality",
    "The first layer shows its weights as images. Which letters does it mistake for each other?"],
];
