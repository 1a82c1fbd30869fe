/** Owns the plain Node relay as a peer: what Node's stock sockets cost at the least. */
import { fileURLToPath } from 'node:url';
import { type Forwarder, listening } from '../forwarder.js';

export const plain: Forwarder = {
  name: 'plain-node',
  about: '`net` with `a.pipe(b)`; `dgram` with one socket per client',
  protocols: ['TCP', 'UDP'],
  needs: [],
  async start(stage) {
    const program = fileURLToPath(new URL('../programs/plain-relay.js', import.meta.url));
    const routes = Object.values(stage.routes);
    const child = stage.lab.ns.node.spawn(process.execPath, [program, JSON.stringify(routes)]);
    return listening(stage, child, routes);
  },
};
