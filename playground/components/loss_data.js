// The numbers behind the loss curve: growing arrays, smoothing, axis limits, decimation. No DOM.

/** A run's points; smooth averages about the last 5 % of them, so a drawn point never moves again. */
function lossStore(payload) {
  const store = {
    run: payload.run,
    step: [], train: [], smooth: [], valStep: [], val: [],
    level: null, seen: 0,
    state: payload.state || "recorded",
    total: payload.total || 0,
    unit: payload.unit || "nats/token",
    baselines: Array.from(payload.baselines || [], (line) => ({ label: line.label, value: line.value })),
  };
  lossAppend(store, payload.points || {});
  return store;
}

/** How much a new point counts: a window that widens from 1 to 100 points as the run goes on. */
function lossGain(seen) {
  return 2 / (1 + Math.max(1, Math.min(100, seen / 20)));
}

function lossAppend(store, points) {
  const steps = Array.from(points.step || []);
  const train = Array.from(points.train || []);
  for (let i = 0; i < steps.length; i++) {
    store.step.push(steps[i]);
    const loss = Number.isFinite(train[i]) ? train[i] : null;
    store.train.push(loss);
    if (loss !== null) {
      store.seen += 1;
      store.level = store.level === null ? loss : store.level + lossGain(store.seen) * (loss - store.level);
    }
    store.smooth.push(store.level);
  }
  for (const pair of Array.from(points.val || [])) {
    const [step, loss] = Array.from(pair);
    store.valStep.push(step);
    store.val.push(Number.isFinite(loss) ? loss : null);
  }
  return steps.length > 0 || (points.val || []).length > 0;
}

/** The smallest of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten that is at least value. */
function lossNice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * power).find((v) => v >= value * (1 - 1e-9));
}

/** Smallest and largest finite number of several arrays. */
function lossRange(...arrays) {
  let low = Infinity;
  let high = -Infinity;
  for (const array of arrays) {
    for (const value of array) {
      if (value === null) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : [0, 1];
}

/** Axis limits that move in steps. previous keeps the y axis from shrinking while a run goes on. */
function lossLimits(store, previous) {
  const last = Math.max(store.step[store.step.length - 1] || 0, store.valStep[store.valStep.length - 1] || 0, 10);
  const first = Math.min(store.step[0] || 0, store.valStep[0] || 0);
  let right = lossNice(last);
  if (store.total && store.total >= last && right > store.total) right = store.total;
  let [low, high] = lossRange(store.train, store.val);
  for (const line of store.baselines) if (line.value <= high * 1.25 && line.value > high) high = line.value;
  const unit = lossNice((high - low || 1) / 5);
  let bottom = Math.max(0, Math.floor(low / unit) * unit);
  let top = Math.ceil(high / unit + 1e-9) * unit;
  if (previous && previous.run === store.run) {
    bottom = Math.min(bottom, previous.bottom);
    top = Math.max(top, previous.top);
  }
  return { run: store.run, left: first, right, bottom, top };
}

/** Round numbers inside low..high, about count of them. */
function lossTicks(low, high, count) {
  const gap = lossNice((high - low) / count);
  const ticks = [];
  for (let i = Math.ceil(low / gap - 1e-9); i * gap <= high + gap * 1e-6; i++) ticks.push(i * gap);
  return ticks;
}

/** Index of the entry nearest to step in a rising array, -1 when it is empty. */
function lossNearest(steps, step) {
  let low = 0;
  let high = steps.length - 1;
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle;
    else high = middle;
  }
  return Math.abs(steps[low] - step) <= Math.abs(steps[high] - step) ? low : high;
}

/** One entry a pixel column: x, the lowest, highest and last value there. */
function lossColumns(steps, values, toX) {
  const columns = [];
  let current = null;
  for (let i = 0; i < steps.length; i++) {
    const value = values[i];
    if (value === null) continue;
    const x = Math.round(toX(steps[i]));
    if (current && current.x === x) {
      if (value < current.low) current.low = value;
      if (value > current.high) current.high = value;
      current.last = value;
    } else {
      current = { x, low: value, high: value, last: value };
      columns.push(current);
    }
  }
  return columns;
}
