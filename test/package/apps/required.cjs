// The package by `require`, in a process that imports nothing.
const { SAMPLE, compute } = require("./sample.js");

compute(require("onepass")).then((plain) => console.log(JSON.stringify({ sample: SAMPLE, plain })));
