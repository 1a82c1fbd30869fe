/**
 * Owns `--write-config-to`: what is configured, as a file that --config reads.
 *
 *   effective flags -> configurationOf -> YAML -> file
 */
import { writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { hostPort } from '../config/address.js';
import { errorText } from '../config/error-text.js';
import { formatPortRange } from '../config/host-port.js';
import { configurationOf } from '../config/kube-proxy-configuration.js';
import type { HostPort } from '../config/options.js';
import type { ExitCode } from './exit-code.js';
import type { ResolvedRun } from './resolve-run.js';

export async function writeConfig(file: string, resolved: ResolvedRun): Promise<ExitCode> {
  try {
    await writeFile(file, configText(resolved));
  } catch (err) {
    process.stderr.write(`error: --write-config-to: ${errorText(err)}\n`);
    return 1;
  }
  process.stdout.write(`wrote the configuration to ${file}\n`);
  return 0;
}

export function configText({ flags, options }: Pick<ResolvedRun, 'flags' | 'options'>): string {
  const values: Readonly<Record<string, unknown>> = {
    ...flags,
    'cluster-cidr': flags['cluster-cidr'].join(','),
    'healthz-bind-address': addressText(options.healthzBindAddress),
    'metrics-bind-address': addressText(options.metricsBindAddress),
    'proxy-port-range': formatPortRange(options.proxyPortRange),
  };
  return stringify(configurationOf((flag) => values[flag]));
}

/** Empty text means the default there. */
function addressText(at: HostPort | undefined): string {
  return at === undefined ? '0' : hostPort(at.host, at.port);
}
