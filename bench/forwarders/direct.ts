/** Owns the run without a forwarder: the client dials pod1 itself, the kernel routes. What is left is everybody else's cost. */
import type { Forwarder } from '../forwarder.js';

export const direct: Forwarder = {
  name: 'direct',
  about: 'no forwarder: the client dials pod1, the kernel routes',
  protocols: ['TCP', 'UDP'],
  needs: [],
  async start(stage) {
    return {
      pid: undefined,
      target(name) {
        const [backend] = stage.routes[name].backends;
        if (backend === undefined) throw new Error(`route ${name} has no backend`);
        return backend;
      },
      stop: async () => undefined,
    };
  },
};
