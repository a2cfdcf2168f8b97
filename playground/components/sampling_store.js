// window.picoSampling: the one set of sampling settings of this page. Sliders call set(); any number
// of bar widgets follow, all repainted in the next frame, with no trip to the server.
if (!window.picoSampling) {
  window.picoSampling = (() => {
    const listeners = new Set();
    let state = { temperature: 1, top_k: 0, top_p: 1, min_p: 0 };
    let queued = 0;
    let since = 0;
    function flush() {
      queued = 0;
      for (const listener of listeners) if (listener(state, since) === false) listeners.delete(listener);
    }
    return {
      get: () => ({ ...state }),
      set(settings) {
        state = { ...state, ...settings };
        if (queued) return;
        since = performance.now();
        queued = requestAnimationFrame(flush);
      },
      /** listener(state, askedAt) is called in a frame; it returns false once it has left the page. */
      follow(listener) {
        listeners.add(listener);
      },
    };
  })();
}
