/**
 * Owns `kproxy-us demo`: the real daemon over two Services made for it, and what to try.
 *
 *   backends, manifests, free ports -> Daemon (--redirect none, loopback only) -> words for a second terminal -> Ctrl-C
 */
import { hostname } from 'node:os';
import type { Log } from '../config/log.js';
import type { HostPort, Options } from '../config/options.js';
import { Daemon } from '../daemon.js';
import { createLogger } from '../status/logger.js';
import type { StatusReport } from '../status/report.js';
import { DemoBackend, DemoManifests, type DemoService, freePort, HOST } from './demo-parts.js';
import type { ExitCode } from './exit-code.js';
import { fetchReport } from './fetch-report.js';
import { dieOfUncaughtFailures, type Served, serve } from './run.js';
import { defaultOptions, METRICS_PORT } from './run-options.js';

export type DemoOptions = Pick<Options, 'engine' | 'verbosity' | 'loggingFormat'>;

export async function demo(options: DemoOptions): Promise<ExitCode> {
  process.title = 'kproxy-us';
  const logger = createLogger({ format: options.loggingFormat, verbosity: options.verbosity });
  // What the proxy does by itself would bury what there is to try; what goes wrong is worth a line.
  const log: Log = options.verbosity > 0 ? logger : { ...logger, info: () => undefined };
  dieOfUncaughtFailures(log);
  const code = await serve(new Demo(options, log), log);
  logger.close();
  return code;
}

class Demo implements Served {
  readonly #options: DemoOptions;
  readonly #log: Log;
  readonly #backends: DemoBackend[] = [];
  #manifests: DemoManifests | undefined;
  #daemon: Daemon | undefined;

  constructor(options: DemoOptions, log: Log) {
    this.#options = options;
    this.#log = log;
  }

  async start(): Promise<void> {
    const [web, echo, metricsPort] = await Promise.all([
      this.#service('web', 'TCP', 30_080),
      this.#service('echo', 'UDP', 30_053),
      freePort('TCP', METRICS_PORT),
    ]);
    const manifests = await DemoManifests.create();
    this.#manifests = manifests;
    for (const service of [web, echo]) await manifests.write(service);

    this.#daemon = new Daemon(this.#daemonOptions(manifests, metricsPort), this.#log);
    await this.#daemon.start();
    const report = await servingReport({ host: HOST, port: metricsPort });
    process.stdout.write(words(web, echo, manifests, metricsPort, report.engine));
  }

  /** In the reverse order of starting: whoever is connected is drained while the backends still answer. */
  async stop(): Promise<void> {
    await this.#daemon?.stop();
    await Promise.all(this.#backends.map((backend) => backend.stop()));
    await this.#manifests?.remove();
  }

  async reload(): Promise<void> {
    await this.#daemon?.reload();
  }

  async #service(name: string, protocol: 'TCP' | 'UDP', wishedPort: number): Promise<DemoService> {
    const kind = protocol === 'TCP' ? 'http' : 'udp';
    const running = new Set<string>();
    const onEnd = (ended: string) => {
      running.delete(ended);
      const [left] = running;
      process.stdout.write(`(${ended} is gone: ${left ?? 'nobody'} serves ${name} now)\n`);
    };
    const start = async (number: number) => {
      const backend = await DemoBackend.start(kind, `${name}-${number}`, onEnd);
      this.#backends.push(backend);
      running.add(backend.name);
      return backend;
    };
    const backends = await Promise.all([start(1), start(2)]);
    return { name, protocol, nodePort: await freePort(protocol, wishedPort), backends };
  }

  /** Loopback only: a demo opens nothing to the network. */
  #daemonOptions(manifests: DemoManifests, metricsPort: number): Options {
    return {
      ...defaultOptions({ nodeName: undefined, hostname: hostname() }),
      ...this.#options,
      manifests: [manifests.path],
      redirect: 'none',
      nodePortAddresses: ['127.0.0.0/8'],
      healthzBindAddress: undefined,
      metricsBindAddress: { host: HOST, port: metricsPort },
      minSyncPeriodMs: 100,
      drainTimeoutMs: 2_000,
      oomScoreAdj: undefined,
    };
  }
}

const SERVING_WITHIN_MS = 15_000;

/** Asks the daemon itself until both Services are served. */
async function servingReport(at: HostPort): Promise<StatusReport> {
  const deadline = performance.now() + SERVING_WITHIN_MS;
  for (;;) {
    const report = await fetchReport(at);
    if (report.listeners.filter(({ listening }) => listening).length >= 2) return report;
    const [fault] = report.sync.faults;
    if (fault !== undefined) throw new Error(`cannot listen on ${fault.listener}: ${fault.message}`);
    if (performance.now() > deadline) throw new Error(`the demo was not served within ${SERVING_WITHIN_MS / 1_000} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function words(
  web: DemoService,
  echo: DemoService,
  manifests: DemoManifests,
  metricsPort: number,
  engine: string,
): string {
  const [web1, web2] = web.backends;
  const file = manifests.file(web2?.name ?? '');
  const edit = (from: string, to: string) => `sed -i 's/ready: ${from}/ready: ${to}/' ${file}`;
  return `kproxy-us serves two Services on this machine: no cluster, no root, engine ${engine}.

  web   TCP ${HOST}:${web.nodePort}  ->  ${backendsText(web)}
  echo  UDP ${HOST}:${echo.nodePort}  ->  ${backendsText(echo)}

Type these in another terminal:

  curl http://${HOST}:${web.nodePort}/
      several times: ${web1?.name} and ${web2?.name} answer in turn

  ${edit('true', 'false')}
      the manifest is taken at once: now ${web1?.name} answers alone. And back:
  ${edit('false', 'true')}

  kill ${web1?.pid}
      and curl again: ${web2?.name} answers, no request fails

  echo hi | nc -u -w1 ${HOST} ${echo.nodePort}
      UDP: ${echo.backends[0]?.name} and ${echo.backends[1]?.name} in turn

  curl -s http://${HOST}:${metricsPort}/metrics | grep ^kproxy_us_
      what it counts: connections, bytes, failed dials, retries

Ctrl-C ends everything and leaves nothing behind.
`;
}

function backendsText({ backends }: DemoService): string {
  return backends.map(({ name, port, pid }) => `${name} (${HOST}:${port}, pid ${pid})`).join(', ');
}
