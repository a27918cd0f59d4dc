% SYSU-MM01's protocol once more, in Octave: a second opinion on pipeline/protocols/sysu.py and pipeline/evaluation/ranking.py,
% written from the description of the protocol only.
%
%   octave-cli evaluate_sysu.m PREFIX TEST_ID PERMUTATIONS METRIC OUTPUT
%
% PREFIX_cam1.mat .. PREFIX_cam6.mat hold the cell `feature`; TEST_ID (test_id.mat) holds `id`; PERMUTATIONS is
% rand_perm_cam.mat; METRIC is cosine or euclidean. OUTPUT is a CSV with a line for each mode, shots and trial.
1;

function [features, identities, cameras] = collect(feature, chosen, identity, camera, features, identities, cameras)
  features = [features; double(feature{camera}{identity}(chosen, :))];
  identities = [identities; repmat(identity, numel(chosen), 1)];
  cameras = [cameras; repmat(camera, numel(chosen), 1)];
endfunction

function n = images(feature, identity, camera)
  n = 0;
  if identity <= numel(feature{camera})
    n = size(feature{camera}{identity}, 1);
  endif
endfunction

function d = distances(query, gallery, metric)
  if strcmp(metric, "cosine")
    query = query ./ sqrt(sum(query .^ 2, 2));
    gallery = gallery ./ sqrt(sum(gallery .^ 2, 2));
    d = 1 - query * gallery';
  else
    d = zeros(rows(query), rows(gallery));
    for i = 1:rows(query)
      d(i, :) = sqrt(sum((gallery - query(i, :)) .^ 2, 2))';
    endfor
  endif
endfunction

function figures = judge(d, query_identity, query_camera, gallery_identity, gallery_camera)
  % [counted queries, rank 1, 5, 10, 20, mAP, mINP]
  first = precision = penalty = [];
  for i = 1:rows(d)
    valid = find(! (query_camera(i) == 3 & gallery_camera == 2));
    [~, order] = sort(d(i, valid));  % stable
    ranked = gallery_identity(valid(order));
    hits = find(ranked == query_identity(i));
    if isempty(hits)
      continue;
    endif
    precision(end + 1) = mean((1:numel(hits))' ./ hits(:));
    penalty(end + 1) = numel(hits) / hits(end);
    [~, place] = unique(ranked, "first");
    once = ranked(sort(place));
    first(end + 1) = find(once == query_identity(i));
  endfor
  figures = [numel(first), mean(first <= 1), mean(first <= 5), mean(first <= 10), mean(first <= 20)];
  figures = [figures, mean(precision), mean(penalty)];
endfunction

arguments = argv();
[prefix, test_id, permutations, metric, output] = arguments{end-4:end};
for camera = 1:6
  feature{camera} = load(sprintf("%s_cam%d.mat", prefix, camera)).feature;
endfor
id = sort(load(test_id).id(:)');
order = load(permutations).rand_perm_cam;

query = query_identity = query_camera = [];
for camera = [3 6]
  for identity = id
    [query, query_identity, query_camera] = collect(feature, 1:images(feature, identity, camera), identity, camera, ...
                                                    query, query_identity, query_camera);
  endfor
endfor

modes = {"all", [1 2 4 5]; "indoor", [1 2]};
shots = {"single", 1; "multi", 10};
file = fopen(output, "w");
fprintf(file, "mode,shots,trial,queries,rank_1,rank_5,rank_10,rank_20,mAP,mINP\n");
for m = 1:rows(modes)
  for s = 1:rows(shots)
    for trial = 1:10
      gallery = gallery_identity = gallery_camera = [];
      for camera = modes{m, 2}
        for identity = id
          n = images(feature, identity, camera);
          if n == 0
            continue;
          endif
          chosen = order{camera}{identity}(trial, 1:min(n, shots{s, 2}));
          [gallery, gallery_identity, gallery_camera] = ...
            collect(feature, chosen, identity, camera, gallery, gallery_identity, gallery_camera);
        endfor
      endfor
      figures = judge(distances(query, gallery, metric), query_identity, query_camera, gallery_identity, gallery_camera);
      fprintf(file, "%s,%s,%d,%d%s\n", modes{m, 1}, shots{s, 1}, trial, figures(1), ...
              sprintf(",%.17g", 100 * figures(2:end)));
    endfor
  endfor
endfor
fclose(file);
