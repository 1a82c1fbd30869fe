/** Owns HAProxy as a peer: tcp mode, one thread, splice where it finds it worth it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Forwarder, listening } from '../forwarder.js';
import type { Route } from '../stage.js';

export const haproxy: Forwarder = {
  name: 'haproxy',
  about: '`mode tcp`, `nbthread 1`, `option splice-auto`',
  protocols: ['TCP'],
  needs: ['haproxy'],
  async start(stage) {
    const routes = Object.values(stage.routes).filter(({ protocol }) => protocol === 'TCP');
    const file = join(stage.dir, 'haproxy.cfg');
    await writeFile(file, configuration(routes));
    return listening(stage, stage.lab.ns.node.spawn('haproxy', ['-db', '-f', file]), routes);
  },
};

/** Two descriptors for each connection and each pipe must stay below a hard limit of 20,000. */
function configuration(routes: readonly Route[]): string {
  const proxies = routes.map(
    ({ name, port, backends }) => `
listen ${name}
  bind 0.0.0.0:${port} backlog 16384
  balance roundrobin
${backends.map((backend, i) => `  server pod${i + 1} ${backend.host}:${backend.port}`).join('\n')}`,
  );
  return `
global
  nbthread 1
  maxconn 9000
  maxpipes 400
defaults
  mode tcp
  option splice-auto
  maxconn 9000
  timeout connect 1s
  timeout client 1h
  timeout server 1h
${proxies.join('\n')}
`;
}
