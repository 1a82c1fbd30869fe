/**
 * Owns the life of the process around the daemon: its name, its log, signals (rule Y6), and failures that nobody caught.
 *
 *   ResolvedRun -> Daemon.start -> SIGHUP: reload -> SIGTERM, SIGINT: Daemon.stop -> exit code
 */
import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { formatPortRange } from '../config/host-port.js';
import type { Log } from '../config/log.js';
import type { Options, PortRange } from '../config/options.js';
import { packageVersion } from '../config/version.js';
import { RedirectError } from '../redirect/redirector.js';
import { SourceError } from '../source/source-error.js';
import { AccessLogError } from '../status/access-log.js';
import type { Logger } from '../status/logger.js';
import type { ExitCode } from './exit-code.js';
import { LiveConfig } from './live-config.js';
import type { ConfigNotes, ResolvedRun } from './resolve-run.js';
import { RUN_FLAGS } from './run-flags.js';

/** What `serve` needs of the daemon. */
export interface Served {
  start(): Promise<void>;
  /** Drains; resolves when nothing is left that keeps the process alive. */
  stop(): Promise<void>;
  reload(): Promise<void>;
}

/** The part of `process` that signals come from. */
export interface Signals {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

/** `resolve` reads the command line and its --config file once more. */
export async function run(
  resolved: ResolvedRun,
  ignoredFlags: readonly string[],
  resolve: () => Promise<ResolvedRun>,
): Promise<ExitCode> {
  const { options, config } = resolved;
  // The name that `ss -ltnp` and `ps` show for the listeners; set before threads are made, which inherit it.
  process.title = 'kproxy-us';
  const { createLogger } = await import('../status/logger.js');
  const log = createLogger({ format: options.loggingFormat, verbosity: options.verbosity });
  dieOfUncaughtFailures(log);
  log.info('starting kproxy-us', { version: packageVersion(), node: options.nodeName, pid: process.pid });
  warnOfUnused(options, ignoredFlags, log);
  warnOfNodePorts(options, log);
  setOomScore(options.oomScoreAdj, log);
  const { Daemon } = await import('../daemon.js');
  const daemon = new Daemon(options, log);
  if (config !== undefined) warnOfConfig(config, log);
  const served = config === undefined ? daemon : withLiveConfig(daemon, resolved, resolve, log);
  const code = await serve(served, log);
  log.close();
  return code;
}

/** Starts and stops `served`. Resolves when it has stopped, with 1 or 2 where it could not start or stop. */
export async function serve(
  served: Served,
  log: Log & Partial<Pick<Logger, 'close'>>,
  signals: Signals = process,
  exitNow: (signal: NodeJS.Signals) => void = endBySignal,
): Promise<ExitCode> {
  let askStop = (): void => undefined;
  const stopAsked = new Promise<void>((resolve) => {
    askStop = resolve;
  });
  let asked = false;
  const onStop = (signal: NodeJS.Signals) => {
    log.info(asked ? 'ending at once' : 'stopping', { signal });
    if (asked) exitNow(signal);
    asked = true;
    askStop();
  };
  const reload = oneAtATime(() => served.reload(), log);
  const onReload = (signal: NodeJS.Signals) => {
    log.info('reading the files again', { signal });
    reload();
  };
  for (const signal of STOP_SIGNALS) signals.on(signal, onStop);
  signals.on('SIGHUP', onReload);
  try {
    await served.start();
    await stopAsked;
    await served.stop();
    // What a flood held back happened before: `stopped` is the last line.
    log.close?.();
    log.info('stopped');
    return 0;
  } catch (error) {
    const flag = error instanceof SourceError && error.code === 'NOT_FOUND' ? '--manifests' : undefined;
    log.error('ending after a failure', { flag, err: error });
    await served.stop().catch((err: unknown) => log.error('could not stop in order', { err }));
    return isBadInput(error) ? 2 : 1;
  } finally {
    for (const signal of STOP_SIGNALS) signals.off(signal, onStop);
    signals.off('SIGHUP', onReload);
  }
}

/** What was asked for does not exist: the command line is wrong, not the machine (rule C1). */
function isBadInput(error: unknown): boolean {
  if (error instanceof SourceError || error instanceof AccessLogError) return true;
  return error instanceof RedirectError && error.code === 'UNSUPPORTED_MODE';
}

const STOP_SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'];

/** A call while one is under way makes one more follow it. */
function oneAtATime(work: () => Promise<void>, log: Log): () => void {
  let running = false;
  let again = false;
  const next = async () => {
    running = true;
    do {
      again = false;
      await work().catch((err: unknown) => log.error('could not read the files again', { err }));
    } while (again);
    running = false;
  };
  return () => {
    again = true;
    if (!running) void next();
  };
}

/**
 * Ends by the signal itself, so that no thread blocked in a system call is waited for. The first process of a container is
 * immune to its own signals: it goes on to `exit`.
 */
function endBySignal(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  process.exit(128 + constants.signals[signal]);
}

/** State is unknown after those: end, and let whoever supervises us start anew. The kernel keeps the rules meanwhile. */
export function dieOfUncaughtFailures(log: Log): void {
  const die = (what: string) => (err: unknown) => {
    log.error(what, { err, stack: err instanceof Error ? err.stack : undefined });
    process.exit(1);
  };
  process.on('uncaughtException', die('ending after an uncaught exception'));
  process.on('unhandledRejection', die('ending after an unhandled rejection'));
}

/** Reads the file of --config again beside the manifests, and whenever it changes. */
function withLiveConfig(
  daemon: Served,
  running: ResolvedRun,
  resolve: () => Promise<ResolvedRun>,
  log: Logger,
): Served {
  const apply = (options: Options) => {
    log.setVerbosity(options.verbosity);
    setOomScore(options.oomScoreAdj, log);
  };
  const live = new LiveConfig({ running, resolve, apply, log });
  return {
    start: async () => {
      await daemon.start();
      await live.start();
    },
    reload: async () => {
      await live.reload();
      await daemon.reload();
    },
    stop: async () => {
      await live.stop();
      await daemon.stop();
    },
  };
}

/** A redirect listener there may hold the node port of a Service that comes later, which then cannot be bound. */
export function warnOfNodePorts({ proxyPortRange: { first, last }, redirect }: Options, log: Log): void {
  if (redirect === 'none' || last < NODE_PORTS.first || first > NODE_PORTS.last) return;
  log.warn('--proxy-port-range overlaps the node ports of Kubernetes: a redirect may take the node port of a Service', {
    proxyPortRange: formatPortRange({ first, last }),
    nodePorts: formatPortRange(NODE_PORTS),
  });
}

/** The default of the API server's --service-node-port-range. */
const NODE_PORTS: PortRange = { first: 30_000, last: 32_767 };

/** Each in one line, however many there are (rule C4). */
function warnOfConfig({ path, overridden, unused, unknown }: ConfigNotes, log: Log): void {
  const flags = overridden.map((name) => `--${name}`).join(' ');
  if (overridden.length > 0) log.warn('flags were given that the file of --config stands in for', { path, flags });
  if (unused.length > 0) log.warn('fields of the configuration do nothing here', { path, fields: unused.join(' ') });
  if (unknown.length > 0) log.warn('fields of the configuration are unknown', { fields: unknown.join(', ') });
}

/** kube-proxy too goes on without. Nobody asked for the default: that it cannot be had is no news. */
function setOomScore(score: number | undefined, log: Log): void {
  if (score === undefined) return;
  try {
    writeFileSync('/proc/self/oom_score_adj', `${score}`);
  } catch (err) {
    const reason = 'to go below its present score a process needs CAP_SYS_RESOURCE';
    const level = score === RUN_FLAGS['oom-score-adj'].fallback ? 'debug' : 'warn';
    log[level]('cannot set the OOM score, it stays as it is', { score, reason, err });
  }
}

/** One line for all flags that were given and do nothing. */
function warnOfUnused(options: Options, ignoredFlags: readonly string[], log: Log): void {
  const unused = [...ignoredFlags];
  // Manifests are the source where they are given.
  const { manifests, kubeconfig, master } = options;
  if (manifests.length > 0 && kubeconfig !== undefined) unused.push('kubeconfig');
  if (manifests.length > 0 && master !== undefined) unused.push('master');
  if (unused.length === 0) return;
  log.warn('flags were given that do nothing here', { flags: unused.map((name) => `--${name}`).join(' ') });
}
