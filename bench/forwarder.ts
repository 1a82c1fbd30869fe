/**
 * Owns what a forwarder is to the benchmarks: something on `node` that takes connections and hands them to pods.
 *
 *   run -> Forwarder.start(stage) -> RunningForwarder (pid, where to dial) -> figure -> stop
 */
import type { Protocol } from '../lib/model/objects.js';
import type { Child } from '../spec/support/lab/child.js';
import { until } from '../spec/support/until.js';
import type { Route, RouteName, Stage } from './stage.js';

export interface Forwarder {
  /** As in `--forwarders`. */
  readonly name: string;
  /** In one line: how it is set. Stands below the tables. */
  readonly about: string;
  readonly protocols: readonly Protocol[];
  /** Programs it cannot do without. */
  readonly needs: readonly string[];
  /** Resolves when it listens. Rejects where it cannot run here; nothing of it runs then. */
  start(stage: Stage): Promise<RunningForwarder>;
}

export interface RunningForwarder {
  /** Undefined where the kernel does it. */
  readonly pid: number | undefined;
  target(route: RouteName): Target;
  stop(): Promise<void>;
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** Resolves when every port of the routes has a socket in the node's namespace; stops the child where that never comes. */
export async function listening(stage: Stage, child: Child, routes: readonly Route[]): Promise<RunningForwarder> {
  const { node } = stage.lab.ns;
  try {
    await until(
      'the forwarder to listen',
      async () => {
        if (child.exit !== undefined) return true;
        const sockets = await node.must('ss', ['-Hltun']);
        return routes.every(({ port, protocol }) =>
          new RegExp(`^${protocol.toLowerCase()} .*:${port} `, 'm').test(sockets),
        );
      },
      15_000,
    );
    if (child.exit !== undefined)
      throw new Error(`it ended with code ${child.exit.code}: ${lastLines(child.stderr + child.stdout)}`);
  } catch (error) {
    await child.stop('SIGKILL');
    throw error;
  }
  return {
    pid: child.pid,
    target: (name) => ({ host: node.address.IPv4, port: stage.routes[name].port }),
    async stop() {
      await child.stop('SIGTERM', 2_000);
    },
  };
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-2).join(' | ').slice(0, 400);
}
