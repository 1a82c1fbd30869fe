/** Owns nginx's stream module as a peer: one worker, TCP and UDP. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Forwarder, listening } from '../forwarder.js';
import type { Stage } from '../stage.js';

/** Debian builds the stream module as a file of its own. */
const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

export const nginx: Forwarder = {
  name: 'nginx',
  about: '`stream`, one process; UDP sessions of 10 s, no `proxy_responses`',
  protocols: ['TCP', 'UDP'],
  needs: ['nginx'],
  async start(stage) {
    const file = join(stage.dir, 'nginx-stream.conf');
    await writeFile(file, configuration(stage));
    const child = stage.lab.ns.node.spawn('nginx', ['-c', file, '-p', stage.dir, '-e', 'stderr']);
    return listening(stage, child, Object.values(stage.routes));
  },
};

function configuration(stage: Stage): string {
  const routes = Object.values(stage.routes);
  const proxies = routes.map(({ name, protocol, port, backends }) => {
    const servers = backends.map(({ host, port: backendPort }) => `server ${host}:${backendPort};`).join(' ');
    const listen = protocol === 'UDP' ? `${port} udp` : `${port} backlog=16384`;
    const timeout = protocol === 'UDP' ? '10s' : '1h';
    return `
  upstream ${name} { ${servers} }
  server { listen ${listen}; proxy_pass ${name}; proxy_timeout ${timeout}; proxy_connect_timeout 1s; }`;
  });
  return `
${existsSync(STREAM_MODULE) ? `load_module ${STREAM_MODULE};` : ''}
daemon off; master_process off; worker_processes 1; pid ${join(stage.dir, 'nginx-stream.pid')};
worker_rlimit_nofile 20000; error_log stderr crit;
events { worker_connections 19000; multi_accept on; }
stream {${proxies.join('')}
}
`;
}
