/**
 * Owns the stage of the benchmarks: the lab, set so that one run does not slow the next, and the servers in the pods.
 *
 *   ext (wrk, iperf3, dnsperf) -> node (forwarder) -> pod1, pod2 (nginx, iperf3, dnsmasq)
 */
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Protocol } from '../lib/model/objects.js';
import type { Lab } from '../spec/support/lab/lab.js';
import { createLab } from '../spec/support/lab/lab.js';
import type { Namespace } from '../spec/support/lab/namespace.js';
import { missing } from '../spec/support/requires.js';
import { until } from '../spec/support/until.js';

export type RouteName = 'http' | 'bulk' | 'dns';

/** A port on the node, and where what arrives there has to go. */
export interface Route {
  readonly name: RouteName;
  readonly protocol: Protocol;
  readonly port: number;
  readonly backends: readonly { readonly host: string; readonly port: number }[];
}

export interface Stage {
  readonly lab: Lab;
  readonly routes: Readonly<Record<RouteName, Route>>;
  /** For configuration files. */
  readonly dir: string;
  /** Congestion control of all TCP sockets on it. */
  readonly congestionControl: string;
  /** Forgets what one run left in the kernel. */
  sweep(): Promise<void>;
  close(): Promise<void>;
}

const HTTP_PORT = 8080;
const IPERF_PORT = 5201;
const DNS_PORT = 53;
export const DNS_NAME = 'bench.test';

/**
 * Loss never happens on the stage. cubic and reno then differ in nothing; bbr paces every socket by timers of the kernel, which cost
 * more than a forwarder does and hide it. A namespace may only have what the machine allows, which reno always is.
 */
const UNPACED = ['cubic', 'reno'];
const CONGESTION_CONTROL = 'net.ipv4.tcp_congestion_control';

/** `congestionControl`: as in `BenchOptions`. Throws where the machine does not allow it. */
export async function openStage(congestionControl?: string): Promise<Stage> {
  const dir = await mkdtemp(join(tmpdir(), 'kproxy-us-bench-'));
  const removeDir = () => rmSync(dir, { recursive: true, force: true });
  process.once('exit', removeDir);
  const lab = await createLab();
  const { node, ext, pod1, pod2 } = lab.ns;
  const close = async () => {
    await lab.close();
    removeDir();
  };
  try {
    await Promise.all([node, ext, pod1, pod2].map((space) => tune(space, congestionControl)));
    await Promise.all([pod1, pod2].map((pod) => startServers(pod, dir)));
  } catch (error) {
    await close();
    throw error;
  }
  const both = (port: number) => [pod1, pod2].map((pod) => ({ host: pod.address.IPv4, port }));
  const inUse = await node.must('cat', [`/proc/sys/${CONGESTION_CONTROL.replaceAll('.', '/')}`]);
  return {
    lab,
    dir,
    congestionControl: inUse.trim(),
    routes: {
      http: { name: 'http', protocol: 'TCP', port: 30080, backends: both(HTTP_PORT) },
      // One backend: the two connections of an iperf3 test belong to one server.
      bulk: { name: 'bulk', protocol: 'TCP', port: 30201, backends: both(IPERF_PORT).slice(0, 1) },
      dns: { name: 'dns', protocol: 'UDP', port: 30053, backends: both(DNS_PORT) },
    },
    async sweep() {
      if (missing(['conntrack']) !== undefined) return;
      await Promise.all([node, ext, pod1, pod2].map((space) => space.run('conntrack', ['-F'])));
    },
    close,
  };
}

async function tune(space: Namespace, congestionControl: string | undefined): Promise<void> {
  await space.sysctl({
    // TIME_WAIT sockets of one run take the ports of the next, and time to look up.
    'net.ipv4.tcp_max_tw_buckets': 0,
    'net.ipv4.ip_local_reserved_ports': '30053,30080,30201',
    'net.ipv4.ip_local_port_range': '1024 65535',
    'net.core.somaxconn': 65_535,
    'net.ipv4.tcp_max_syn_backlog': 65_535,
  });
  if (congestionControl !== 'system') await control(space, congestionControl);
}

/** The one that is asked for, else the first that is allowed here. */
async function control(space: Namespace, wanted: string | undefined): Promise<void> {
  const allowed = (await space.must('cat', ['/proc/sys/net/ipv4/tcp_allowed_congestion_control'])).split(/\s+/);
  const name = wanted ?? UNPACED.find((one) => allowed.includes(one)) ?? 'reno';
  if (!allowed.includes(name))
    throw new RangeError(`--congestion-control ${name}: expected one that this machine allows: ${allowed.join(' ')}`);
  await space.sysctl({ [CONGESTION_CONTROL]: name });
}

async function startServers(pod: Namespace, dir: string): Promise<void> {
  const config = join(dir, `${pod.title}-nginx.conf`);
  await writeFile(config, httpConfig(pod, dir));
  const started = [
    pod.spawn('nginx', ['-c', config, '-p', dir, '-e', 'stderr']),
    ...optional(pod, 'iperf3', ['-s', '-p', String(IPERF_PORT)]),
    ...optional(pod, 'dnsmasq', [
      ...['--no-daemon', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--user=root', '--pid-file='],
      ...['--bind-interfaces', `--listen-address=${pod.address.IPv4}`, `--address=/${DNS_NAME}/10.0.0.1`],
    ]),
  ];
  await until(`the servers in ${pod.title}`, async () => {
    const dead = started.find((child) => child.exit !== undefined);
    if (dead !== undefined) throw new Error(dead.stderr);
    const sockets = await pod.must('ss', ['-Hltun']);
    return sockets.includes(`:${HTTP_PORT} `);
  });
}

function optional(pod: Namespace, command: string, args: string[]) {
  return missing([command]) === undefined ? [pod.spawn(command, args)] : [];
}

function httpConfig(pod: Namespace, dir: string): string {
  return `
daemon off; master_process off; worker_processes 1; pid ${join(dir, `${pod.title}-nginx.pid`)};
worker_rlimit_nofile 20000; error_log stderr crit;
events { worker_connections 16000; multi_accept on; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_header_timeout 1h; tcp_nodelay on;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`).join(' ')}
  server { listen ${HTTP_PORT} backlog=16384; location / { default_type text/plain; return 200 "${pod.title} says hello\\n"; } }
}
`;
}
