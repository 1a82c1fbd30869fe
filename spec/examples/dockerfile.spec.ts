import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ROOT } from '../support/proxy.js';

interface Package {
  readonly bin: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly engines: { readonly node: string };
}

const read = (name: string) => readFileSync(join(ROOT, name), 'utf8');

describe('Dockerfile', () => {
  const lines = read('Dockerfile').replaceAll('\\\n', ' ').split('\n');
  const instructions = (name: string) => lines.filter((line) => line.startsWith(`${name} `));
  const { bin, scripts, engines } = JSON.parse(read('package.json')) as Package;

  /** Sources of the build context. */
  const sources = instructions('COPY')
    .filter((line) => !line.includes('--from='))
    .flatMap((line) => line.split(/\s+/).slice(1, -1));

  it('copies what is there, and what .dockerignore lets through', () => {
    const kept = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    expect(sources).to.include.members(['package.json', 'package-lock.json', 'lib', 'bin']);
    expect(sources.filter((source) => !existsSync(join(ROOT, source)))).to.deep.equal([]);
    expect(kept.toSorted()).to.deep.equal(sources.map((source) => source.replace('./', '')).toSorted());
  });

  it('runs scripts that there are, on a Node.js that the package takes', () => {
    const runs = instructions('RUN').flatMap((line) =>
      [...line.matchAll(/npm run (\S+)/g)].map(([, name = '']) => name),
    );
    expect(runs).to.deep.equal(['build']);
    expect(scripts).to.include.keys(runs);
    const [, major = ''] = /^FROM node:(\d+)-/.exec(instructions('FROM')[0] ?? '') ?? [];
    expect(engines.node).to.equal(`>=${major}.20`);
  });

  it('starts the program without a shell, and has the tools that it calls', () => {
    const [, , path = ''] =
      /^ENTRYPOINT \["(\w+)", "\/app\/([^"]+)"\]$/.exec(instructions('ENTRYPOINT')[0] ?? '') ?? [];
    expect(path).to.equal(bin['kproxy-us']);
    expect(lines.join('\n')).to.match(/apt-get install .* iptables conntrack /);
  });
});
